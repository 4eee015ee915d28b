"""The server's signing key, as Conduit stores it and as Synapse's key files write it.

Stored is ``version FF der``, where ``der`` is PKCS #8 of an Ed25519 key, with its public key or
without (RFC 8410, and the older form that Rust's *ring* writes). DER may hold 0xFF, versions may
not, so the first one separates. Nothing here computes with keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Self

from conduitstore.errors import CorruptedError, InvalidArgumentError, shown

_VERSION = re.compile(r"[A-Za-z0-9_]{1,200}")
_DER = re.compile(
    rb"\x30(.)\x02\x01[\0\x01]\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20(.{32})"
    rb"(?:(?:\xa1\x23\x03\x21|\x81\x21)\0.{32})?",
    re.DOTALL,
)
_DER_OF_SEED = bytes.fromhex("302e020100300506032b657004220420")


@dataclass(frozen=True, slots=True)
class Keypair:
    """An Ed25519 key to sign with.

    Attributes:
        version: what stands behind ``ed25519:`` in the key's id.
        der: PKCS #8, secret.

    Raises:
        InvalidArgumentError: no such version, or no Ed25519 key in PKCS #8.
    """

    version: str
    der: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.version, str) or _VERSION.fullmatch(self.version) is None:
            raise InvalidArgumentError(f"a key version is [A-Za-z0-9_]+, not {shown(self.version)}")
        match = _DER.fullmatch(self.der) if isinstance(self.der, bytes) else None
        if match is None or match[1][0] != len(self.der) - 2:
            raise InvalidArgumentError("this is no Ed25519 key in PKCS #8")

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes."""
        return self.der[16:48]

    @classmethod
    def from_seed(cls, version: str, seed: bytes) -> Self:
        """A key of its 32 secret bytes."""
        if not isinstance(seed, bytes) or len(seed) != 32:
            raise InvalidArgumentError("the seed of an Ed25519 key has 32 bytes")
        return cls(version, _DER_OF_SEED + seed)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """A line of a Synapse key file: ``ed25519 version base64``."""
        try:
            algorithm, version, encoded = text.split()
            seed = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (ValueError, AttributeError, binascii.Error) as error:
            raise InvalidArgumentError("a key is written 'ed25519 version base64'") from error
        if algorithm != "ed25519":
            raise InvalidArgumentError(f"only ed25519 keys sign, not {shown(algorithm)}")
        return cls.from_seed(version, seed)

    def to_text(self) -> str:
        """The inverse of :meth:`from_text`."""
        return f"ed25519 {self.version} {base64.b64encode(self.seed).decode().rstrip('=')}"


def pack_keypair(keypair: Keypair) -> bytes:
    """``version FF der``."""
    if not isinstance(keypair, Keypair):
        raise InvalidArgumentError(f"not a Keypair: {type(keypair).__name__}")
    return b"%b\xff%b" % (keypair.version.encode(), keypair.der)


def unpack_keypair(value: bytes) -> Keypair:
    """The inverse.

    Raises:
        CorruptedError: the bytes are no key; nothing of them is in the message.
    """
    version, _, der = value.partition(b"\xff")
    try:
        return Keypair(version.decode(), der)
    except (UnicodeDecodeError, InvalidArgumentError) as error:
        raise CorruptedError("global", 0, f"the server's key pair is unreadable: {error}") from None
