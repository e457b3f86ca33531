"""Secrets at rest: what is stored can be read only with the operator's SECRET_KEY."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_LEAST = 16


class WrongKey(Exception):
    """A secret that was stored under another SECRET_KEY, or was changed since."""


class Vault:
    """Seals texts with a key that is derived from `secret_key`.

    Any long random text will do: it is stretched by HKDF (RFC 5869), not guessed at. Raises
    ValueError with a sentence when it is shorter than 16 characters.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < _LEAST:
            raise ValueError(f"SECRET_KEY is too short: it takes at least {_LEAST} characters.")
        key = HKDF(SHA256(), 32, salt=None, info=b"sslmonitor-bot vault").derive(
            secret_key.encode()
        )
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        """What may be stored in the place of `text`: different each time."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text that was sealed. Raises WrongKey."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise WrongKey("A stored secret can't be read: SECRET_KEY has changed.") from None
