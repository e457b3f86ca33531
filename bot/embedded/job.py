"""What is scanned and how: a target, the protocol spoken before TLS, and the proxy to it.

The proxy's password is stored encrypted with the operator's SECRET_KEY.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.embedded.scan.proxy import HTTPProxy
from bot.store.tables import monitors
from bot.target import Target

COLUMNS = (
    monitors.c.host,
    monitors.c.port,
    monitors.c.protocol,
    monitors.c.proxy_host,
    monitors.c.proxy_port,
    monitors.c.proxy_username,
    monitors.c.proxy_password,
)


_MIN_LENGTH = 16  # of SECRET_KEY


class WrongKey(Exception):
    """The secret was encrypted with another SECRET_KEY, or was altered."""


class Vault:
    """Encrypts texts with a key derived from `secret_key`.

    `secret_key` is any long random text; HKDF (RFC 5869) derives the key but does not make a weak
    text strong. Raises ValueError with a sentence if it is shorter than 16 characters.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < _MIN_LENGTH:
            raise ValueError(f"SECRET_KEY is too short: use at least {_MIN_LENGTH} characters.")
        key = HKDF(SHA256(), 32, salt=None, info=b"sslmonitor-bot vault").derive(
            secret_key.encode()
        )
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        """Encrypt; the result differs each time."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt. Raises WrongKey."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise WrongKey("A stored secret can't be decrypted: SECRET_KEY has changed.") from None


@dataclass(frozen=True, slots=True)
class Job:
    """A target and the way to scan it; in the database the proxy's password is encrypted."""

    target: Target
    protocol: str = ""
    proxy: HTTPProxy | None = None

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Job:
        """Read the values of COLUMNS; the password stays encrypted."""
        host, port, protocol, proxy_host, proxy_port, username, password = row
        proxy = None
        if proxy_host is not None:
            proxy = HTTPProxy(proxy_host, proxy_port, username or "", password or "")
        return cls(Target(host, port), protocol, proxy)

    def to_row(self) -> dict[str, Any]:
        """The values of COLUMNS."""
        proxy = self.proxy
        return {
            "host": self.target.host,
            "port": self.target.port,
            "protocol": self.protocol,
            "proxy_host": proxy and proxy.host,
            "proxy_port": proxy and proxy.port,
            "proxy_username": proxy and proxy.username,
            "proxy_password": (proxy and proxy.password) or None,
        }

    def seal(self, vault: Vault | None) -> Job:
        """The job with its password encrypted. Raises ValueError without a vault."""
        if self.proxy is None or not self.proxy.password:
            return self
        if vault is None:
            raise ValueError("The proxy's password can't be stored: the server has no SECRET_KEY.")
        return replace(self, proxy=replace(self.proxy, password=vault.seal(self.proxy.password)))

    def open(self, vault: Vault | None) -> Job:
        """The job with its password decrypted. Raises WrongKey."""
        if self.proxy is None or not self.proxy.password:
            return self
        if vault is None:
            raise WrongKey("A stored secret can't be decrypted: the server has no SECRET_KEY.")
        return replace(self, proxy=replace(self.proxy, password=vault.open(self.proxy.password)))
