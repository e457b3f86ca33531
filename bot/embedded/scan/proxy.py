"""HTTP proxies: CONNECT (RFC 9110, section 9.3.6) with basic authentication (RFC 7617)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.embedded.scan.connection import Connection
from bot.embedded.scan.dns import Address
from bot.target import Target

_HEAD_CAP = 16_384
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: |\r?\n)")


class ProxyFailed(Exception):
    """The proxy gave no tunnel to the target; the text completes "The proxy …"."""

    def __init__(self, proxy: HTTPProxy, what: str) -> None:
        super().__init__(f"{proxy.target} {what}")


@dataclass(frozen=True, slots=True)
class HTTPProxy:
    """An HTTP proxy to scan through; without a username no credentials are sent."""

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def target(self) -> Target:
        """The proxy itself as a place to connect to."""
        return Target(self.host, self.port)


async def tunnel(proxy: HTTPProxy, addresses: Sequence[Address], target: Target) -> Connection:
    """Connect to the target through the proxy, at the first of `addresses` that accepts.

    These are the proxy's own addresses, checked by the guard; the proxy resolves the target's name.
    Raises ProxyFailed.
    """
    connection = await _connect(proxy, addresses)
    try:
        await connection.write(_request(proxy, target))
        head = await connection.read_until(b"\r\n\r\n", _HEAD_CAP)
    except (EOFError, OSError):
        connection.close()
        raise ProxyFailed(proxy, "closed the connection without an answer") from None
    except ValueError:
        connection.close()
        raise ProxyFailed(proxy, "did not answer like an HTTP proxy") from None
    except asyncio.CancelledError:
        connection.close()
        raise
    status = _STATUS.match(head)
    if status is None or status[1][:1] != b"2":
        connection.close()
        if status is None:
            raise ProxyFailed(proxy, "did not answer like an HTTP proxy")
        raise ProxyFailed(proxy, f"answered {int(status[1])}")
    return connection


async def _connect(proxy: HTTPProxy, addresses: Sequence[Address]) -> Connection:
    for address in addresses:
        try:
            return await Connection.open(address, proxy.port)
        except OSError:
            continue
    raise ProxyFailed(proxy, "could not be reached")


def _request(proxy: HTTPProxy, target: Target) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        credentials = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
