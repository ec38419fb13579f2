"""Identity keys and tokens for tests: what an app's backend has, and what it signs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

LIFETIME_S = 600


@dataclass(frozen=True)
class Signer:
    """A backend that signs identity tokens, with a shared secret (HS256) or a private key (ES256)."""

    algorithm: str
    key: Any

    def token(self, user_id: str, **claims: Any) -> str:
        """A token that is good for ten minutes, but for what `claims` say; None leaves one out."""
        said = {"sub": user_id, "exp": int(time.time()) + LIFETIME_S} | claims
        return self.sign({name: value for name, value in said.items() if value is not None})

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token of these claims, whatever they are."""
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=header or None)


def elliptic_key() -> ec.EllipticCurvePrivateKey:
    """A new private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: Any) -> str:
    """The PEM of the public key that belongs to a private one."""
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def private_pem_of(key: Any) -> str:
    """The PEM of the private key itself."""
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()
