"""How the secrets of applications are stored."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django.contrib.auth.hashers import BasePasswordHasher
from django.utils.crypto import constant_time_compare


class SecretHasher(BasePasswordHasher):
    """SHA-256 of a secret that the portal drew itself: 128 random letters need no slow hash.

    A slow one would let anybody who knows a client identifier burn the processors by asking for
    tokens. Not for passwords: it is never the preferred hasher.
    """

    algorithm = "secret_sha256"

    def salt(self) -> str:
        """A constant, because the caller demands one: no two secrets are alike anyway."""
        return "none"

    def encode(self, password: str, salt: str) -> str:
        """`secret_sha256$<64 hexadecimal digits>`."""
        del salt
        return f"{self.algorithm}${sha256(password.encode()).hexdigest()}"

    def decode(self, encoded: str) -> dict[str, Any]:
        """The parts of what `encode` made."""
        algorithm, digest = encoded.split("$", 1)
        return {"algorithm": algorithm, "hash": digest, "salt": self.salt()}

    def verify(self, password: str, encoded: str) -> bool:
        """Whether the secret is the one that was encoded."""
        return constant_time_compare(encoded, self.encode(password, self.salt()))

    def must_update(self, encoded: str) -> bool:
        """Never: there are no parameters."""
        del encoded
        return False

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Nothing: the time does not tell anything of a random secret."""
