"""The server that `tests.bench.scan` scans: nginx, with a chain, what its CA says, and a page."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.embedded.ca.ari import certificate_id
from tests.embedded.authority import crl, points
from tests.embedded.fleet import DAY, Authority, issue, name, new_key, pem

NOW = datetime(2027, 1, 15, tzinfo=UTC)
_NGINX = """
{user}
daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_timeout 0; ssl_session_cache off; ssl_session_tickets off;
  server {{
    listen 0.0.0.0:{port} ssl backlog=1024;
    ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3; default_type text/html; root {folder}/www;
  }}
  server {{ listen 127.0.0.1:{lists} backlog=1024; root {folder}/lists; }}
}}
"""
_BLACKBOX = """
modules:
  http:
    prober: http
    timeout: 10s
    http:
      headers: {{Host: host.bench.test}}
      tls_config: {{ca_file: {folder}/ca.pem, server_name: host.bench.test}}
"""


@dataclass(frozen=True)
class Site:
    """What all processes need to know of the server."""

    folder: str
    port: int
    scans: int
    trusted: bool = True
    peer: int = 0
    database: str = "ours"
    revocation: bool = True
    renewal: bool = False
    directory: str = ""

    def addresses(self) -> list[str]:
        """One address for each scan: all lead to the one server."""
        return [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(self.scans)]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server in another process, from when it listens."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} does not start.")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def prepare(folder: Path, port: int) -> str:
    """A chain of RSA keys with one intermediate, revocation lists for both, a page of 20 KB.

    Returns the URL of the CA's ACME directory.
    """
    lists, since, until = free_port(), NOW - 400 * DAY, NOW + 400 * DAY
    keys = [new_key("rsa2048") for _ in range(3)]
    ca = x509.BasicConstraints(ca=True, path_length=None)
    root = Authority(issue(name("Bench Root"), keys[0], None, since, until, ca), keys[0])
    by_root = points(f"http://lists.bench.test:{lists}/root.crl")
    between = issue(name("Bench CA"), keys[1], root, since, until, ca, by_root)
    issuing = Authority(between, keys[1])
    names = x509.SubjectAlternativeName([x509.DNSName("*.bench.test")])
    by_issuing = points(f"http://lists.bench.test:{lists}/issuing.crl")
    key_id = x509.AuthorityKeyIdentifier(b"bench", None, None)
    usual = issue(name("Bench"), keys[2], issuing, since, until, names, by_issuing, key_id)
    (folder / "ca.pem").write_bytes(pem(root.certificate))
    key = keys[2].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    (folder / "chain.pem").write_bytes(pem(usual) + pem(between))
    (folder / "lists").mkdir()
    for each, file in ((root, "root.crl"), (issuing, "issuing.crl")):
        revoked = [issue(name("Old"), keys[2], each, since, until) for _ in range(20)]
        (folder / "lists" / file).write_bytes(crl(each, *revoked, since=NOW - DAY))
    acme = f"http://lists.bench.test:{lists}"
    (folder / "lists" / "directory").write_text(json.dumps({"renewalInfo": acme}))
    window = {"start": (NOW + DAY).isoformat(), "end": (NOW + 2 * DAY).isoformat()}
    told = json.dumps({"suggestedWindow": window})
    (folder / "lists" / certificate_id(usual)).write_text(told)
    (folder / "www").mkdir()
    head = "<!doctype html><title>Bench</title><meta name=description content='a page'>"
    (folder / "www" / "index.html").write_text(head + "<p>" + "x" * 20_000)
    user = "user root;" if os.getuid() == 0 else ""
    nginx = _NGINX.format(folder=folder, port=port, user=user, lists=lists)
    (folder / "nginx.conf").write_text(nginx)
    (folder / "blackbox.yml").write_text(_BLACKBOX.format(folder=folder))
    folder.chmod(0o755)
    return f"{acme}/directory"
