r"""Composite keys: the only place that joins them and cuts them apart.

A key shape is written as the catalogue of Conduit's trees writes it::

    KeyShape("todeviceid_events", "user ff device:any ff count:u64")

- ``ff`` is one byte 0xFF. UTF-8 never holds it, so it separates text safely; a big-endian count
  may hold it, so a count is cut by its width. Where Conduit writes no separator, neither do we.
- ``name`` is an id: 1 to 255 bytes of UTF-8. ``name:text`` may also be empty.
- ``name:any`` is text of any length that a client chose. Over 255 bytes it is stored as
  ``sha256:`` and the hex digest, by :func:`fold`; a part that must show the original keeps it in
  the value. A text that itself begins with ``sha256:`` is folded too, so no two can collide.
- ``name:u64`` is 8 bytes, big-endian, so that keys sort as numbers do.
- ``name:sha256`` is a hash, 32 bytes; its value is hexadecimal text.
- ``name:position`` is a place in a timeline (see :mod:`conduitstore.codec.positions`), 8 or 16
  bytes, last in its key.

Every operation of every part packs a key, so packing is compiled once per shape into a single
expression, the way ``namedtuple`` does it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from conduitstore.errors import CorruptedError, InvalidArgumentError, shown

TEXT_BYTES_MAX = 255
U64_MAX = (1 << 64) - 1
FOLDED = "sha256:"

_U64 = struct.Struct(">Q")
_TWO_U64 = struct.Struct(">QQ")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"a key needs valid text, not {shown(text)}: {error}") from error


def encode_text(text: str) -> bytes:
    """UTF-8 of at most 255 bytes."""
    raw = _utf8(text)
    if len(raw) > TEXT_BYTES_MAX:
        raise InvalidArgumentError(
            f"an id has at most {TEXT_BYTES_MAX} bytes, this one has {len(raw)}: {text[:40]!r}..."
        )
    return raw


def encode_id(text: str) -> bytes:
    """UTF-8 of 1 to 255 bytes."""
    raw = encode_text(text)
    if not raw:
        raise InvalidArgumentError("an id must not be empty")
    return raw


def fold(text: str) -> str:
    """``text`` itself, or what stands for it in a key where it is too long."""
    raw = _utf8(text)
    if len(raw) > TEXT_BYTES_MAX or text.startswith(FOLDED):
        return FOLDED + sha256(raw).hexdigest()
    return text


def encode_any(text: str) -> bytes:
    """UTF-8 of :func:`fold`."""
    return fold(text).encode()


def check_u64(number: int) -> int:
    """``number`` itself, or an :class:`InvalidArgumentError`. A bool is no number here."""
    if type(number) is not int or not 0 <= number <= U64_MAX:
        raise InvalidArgumentError(f"a count is an int of 0 to 2^64-1, not {shown(number)}")
    return number


def encode_u64(number: int) -> bytes:
    """8 bytes, big-endian."""
    return _U64.pack(check_u64(number))


def encode_sha256(text: str) -> bytes:
    """32 bytes from their hexadecimal text."""
    try:
        raw = bytes.fromhex(text)
    except (TypeError, ValueError):
        raw = b""
    if len(raw) != sha256().digest_size:
        raise InvalidArgumentError(f"not a SHA-256 as hexadecimal text: {shown(text)}")
    return raw


def encode_position(position: int) -> bytes:
    """Normal(n): n. Backfilled(n): a zero word, then 2^64-1-n, so that older sorts earlier."""
    if type(position) is not int or not -U64_MAX <= position <= U64_MAX:
        raise InvalidArgumentError(f"not a timeline position: {shown(position)}")
    return _U64.pack(position) if position >= 0 else _TWO_U64.pack(0, U64_MAX + position)


def decode_position(raw: bytes) -> int:
    """The inverse: negative where a zero word comes first."""
    return int.from_bytes(raw) if len(raw) == 8 else int.from_bytes(raw[8:]) - U64_MAX


class FieldKind(NamedTuple):
    """How one kind of field is written, read and recognised."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    pattern: bytes


FIELD_KINDS = {
    "id": FieldKind(encode_id, bytes.decode, rb"[^\xff]+"),
    "text": FieldKind(encode_text, bytes.decode, rb"[^\xff]*"),
    "any": FieldKind(encode_any, bytes.decode, rb"[^\xff]*"),
    "u64": FieldKind(encode_u64, int.from_bytes, rb".{8}"),
    "sha256": FieldKind(encode_sha256, bytes.hex, rb".{32}"),
    "position": FieldKind(encode_position, decode_position, rb"\0{8}.{8}|.{8}"),
}


class KeyShape:
    """The fields of a tree's key, or of a value built like one.

    Attributes:
        tree: whose keys these are; a key that does not fit is reported under this name.
        notation: the shape as it was written.
        fields: the names of the fields, in order.
        pack: ``pack(*values) -> bytes``, compiled from the notation.
    """

    __slots__ = ("_decoders", "_pattern", "_prefixes", "fields", "notation", "pack", "tree")

    def __init__(self, tree: str, notation: str) -> None:
        self.tree = tree
        self.notation = notation
        tokens = [token.partition(":") for token in notation.split()]
        fields = [(name, kind or "id") for name, _, kind in tokens if name != "ff"]
        self.fields = tuple(name for name, _ in fields)
        self._decoders = [FIELD_KINDS[kind].decode for _, kind in fields]
        self._pattern = re.compile(
            b"".join(
                b"\xff" if name == "ff" else b"(%b)" % FIELD_KINDS[kind or "id"].pattern
                for name, _, kind in tokens
            ),
            re.DOTALL,
        )
        self._prefixes = [_compile_join(tokens, total) for total in range(len(fields) + 1)]
        self.pack: Callable[..., bytes] = self._prefixes[-1]

    def prefix(self, *leading: object) -> bytes:
        """The bytes that every key with these leading values begins with, separator included."""
        return self._prefixes[len(leading)](*leading)

    def counts(self, *leading: object, since: int, upto: int) -> tuple[bytes, bytes]:
        """The half-open key range of the counts in (since, upto] that follow ``leading``.

        Empty where ``since >= upto``; an ``upto`` of 2^64-1 means all there are.
        """
        head = self.prefix(*leading)
        return head + _encode_next(since), head + _encode_next(upto)

    def unpack(self, key: bytes) -> tuple[Any, ...]:
        """The values of the fields: text as ``str``, counts and positions as ``int``.

        Raises:
            CorruptedError: the key does not have this shape.
        """
        match = self._pattern.fullmatch(key)
        if match is None:
            raise CorruptedError(self.tree, 0, f"{key!r} is not {self.notation!r}")
        try:
            return tuple(
                [decode(raw) for decode, raw in zip(self._decoders, match.groups(), strict=True)]
            )
        except UnicodeDecodeError as error:
            raise CorruptedError(self.tree, 0, f"{key!r} holds bad UTF-8: {error}") from error


def _encode_next(count: int) -> bytes:
    # The counter never gets to the last number: nothing is cut off.
    return _U64.pack(min(check_u64(count) + 1, U64_MAX))


def _compile_join(tokens: list[tuple[str, str, str]], total: int) -> Callable[..., bytes]:
    """One lambda that joins the first ``total`` fields and the separator behind them."""
    names: list[str] = []
    template, calls = "", ""
    for name, _, kind in tokens:
        if name == "ff":
            template += "\\xff"
            continue
        if len(names) == total:
            break
        if not name.isidentifier():
            raise ValueError(f"not a field name: {name!r}")
        names.append(name)
        template += "%b"
        calls += f"encode_{kind or 'id'}({name}), "
    encoders = {f"encode_{kind}": field.encode for kind, field in FIELD_KINDS.items()}
    source = f"lambda {', '.join(names)}: b'{template}' % ({calls})"
    join: Callable[..., bytes] = eval(source, encoders)  # noqa: S307 - our own shapes, no input
    return join
