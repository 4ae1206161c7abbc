"""Keys that heads of runs are signed with: Ed25519, as PEM files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentflow.exceptions import HeadsUnusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MADE_BY = "make one with `agentflow audit keygen`"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """What a signature is checked with; `id` is the beginning of the SHA-256 of its 32 bytes."""

    id: str
    key: Ed25519PublicKey

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Whether this signature of the message was made with the key that belongs to it."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False

        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What a head is signed with."""

    public: PublicKey
    key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """The signature, of 64 bytes."""
        return self.key.sign(message)


def make_key(path: Path) -> PublicKey:
    """Write a new key to `path`, which only its owner may read, and its public half to `path` and `.pub` after it.

    Raises `HeadsUnusable` where one of the files is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.generate()
    public = made.public_key()
    _write(
        Path(f"{path}.pub"),
        public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo),
        0o644,
    )
    _write(
        path,
        made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()),
        0o600,
    )
    return _public(public)


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nothing is written over, and at no time may others read it.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise HeadsUnusable(f"{path} is there already", hint="name another file with `--out`") from None
    except OSError as error:
        raise HeadsUnusable(f"{path} cannot be written: {error.strerror}") from None

    with os.fdopen(file, "wb") as out:
        out.write(content)


def signing_key(path: Path) -> SigningKey:
    """The key in a PEM file; raises `HeadsUnusable` where it is none that can sign."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = _load(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise HeadsUnusable(f"{path} holds no Ed25519 key that can sign", hint=_MADE_BY)

    return SigningKey(public=_public(key.public_key()), key=key)


def public_key(path: Path) -> PublicKey:
    """The public key in a PEM file, or the public half of the key in it; raises `HeadsUnusable`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    key = _load(path)
    if isinstance(key, Ed25519PrivateKey):
        key = key.public_key()

    if not isinstance(key, Ed25519PublicKey):
        raise HeadsUnusable(f"{path} holds no Ed25519 key", hint=_MADE_BY)

    return _public(key)


def _load(path: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    try:
        raw = path.read_bytes()
    except OSError as error:
        raise HeadsUnusable(f"the key {path} cannot be read: {error.strerror}", hint=_MADE_BY) from None

    try:
        return load_pem_public_key(raw) if b"PUBLIC KEY" in raw else load_pem_private_key(raw, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HeadsUnusable(f"{path} is no key in PEM without a password: {error}", hint=_MADE_BY) from None


def _public(key: Ed25519PublicKey) -> PublicKey:
    return PublicKey(id=hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16], key=key)
