"""Secrets that must be stored and read again (signing secrets, chat addresses): encrypted with a key of COOKIE_SECRET.

A copy of the database alone gives none of them away. With another COOKIE_SECRET they are lost, and say so.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from credits_core.errors import ConfigError


class Seal:
    """Encrypts and decrypts short texts. Safe to use from any thread."""

    def __init__(self, secret: str) -> None:
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"prepaid-credits notice secrets")
        self._fernet = Fernet(base64.urlsafe_b64encode(kdf.derive(secret.encode())))

    def close(self, text: str) -> str:
        """The sealed text."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was sealed. ConfigError when it was sealed with another secret."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise ConfigError(
                "The stored secret was sealed with another COOKIE_SECRET; add this receiver again."
            ) from None
