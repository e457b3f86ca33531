"""Secrets at rest: encrypted with the operator's SECRET_KEY."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MIN_LENGTH = 16


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
