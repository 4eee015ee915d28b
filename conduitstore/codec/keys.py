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
- ``name:position`` is a place in a timeline (see :mod:`conduitstore.codec.positions`), 8 or 16
  bytes, last in its key.
- ``name:biased`` is such a place in 8 bytes, 2^63 added, so that both kinds sort together.
- ``name:whole`` is text as it is, however long: for values, and for keys that are read back. What
  makes a key longer than an engine takes is refused there.
- ``name:hash`` is a SHA-256, 32 bytes, in hexadecimal outside; ``name:u32`` is 4 bytes, big-endian,
  ``name:u8`` one; ``name:flag`` is one byte 0xFF or nothing.
- ``name:destination`` and ``name:queued`` are an outgoing queue and what waits in it: an event's
  PduId, or the count of an EDU.

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
from conduitstore.types import (
    Appservice,
    AppserviceId,
    Destination,
    FederationServer,
    PduCount,
    PduId,
    PushGateway,
    ServerName,
    ShortRoomId,
    UserId,
)

TEXT_BYTES_MAX = 255
U64_MAX = (1 << 64) - 1
U32_MAX = (1 << 32) - 1
FOLDED = "sha256:"

_U64 = struct.Struct(">Q")
_HASH = re.compile(r"[0-9a-f]{64}")
_BIAS = 1 << 63
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
    try:  # Every operation comes by here, so what is right takes the short way.
        raw = text.encode()
    except (AttributeError, UnicodeEncodeError):
        return encode_text(text)
    if 0 < len(raw) <= TEXT_BYTES_MAX:
        return raw
    encode_text(text)
    raise InvalidArgumentError("an id must not be empty")


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


def encode_position(position: int) -> bytes:
    """Normal(n): n. Backfilled(n): a zero word, then 2^64-1-n, so that older sorts earlier."""
    if type(position) is not int or not -U64_MAX <= position <= U64_MAX:
        raise InvalidArgumentError(f"not a timeline position: {shown(position)}")
    return _U64.pack(position) if position >= 0 else _TWO_U64.pack(0, U64_MAX + position)


def decode_position(raw: bytes) -> int:
    """The inverse: negative where a zero word comes first."""
    return int.from_bytes(raw) if len(raw) == 8 else int.from_bytes(raw[8:]) - U64_MAX


def encode_biased(position: int) -> bytes:
    """The position with 2^63 added."""
    if type(position) is not int or not -_BIAS <= position < _BIAS:
        raise InvalidArgumentError(f"not a timeline position: {shown(position)}")
    return _U64.pack(position + _BIAS)


def decode_biased(raw: bytes) -> int:
    """The inverse."""
    return int.from_bytes(raw) - _BIAS


def encode_u8(number: int) -> bytes:
    """One byte."""
    if type(number) is not int or not 0 <= number <= 255:
        raise InvalidArgumentError(f"an int of 0 to 255 is needed, not {shown(number)}")
    return number.to_bytes(1)


def encode_u32(number: int) -> bytes:
    """4 bytes, big-endian."""
    if type(number) is not int or not 0 <= number <= U32_MAX:
        raise InvalidArgumentError(f"an int of 0 to 2^32-1 is needed, not {shown(number)}")
    return number.to_bytes(4)


def encode_hash(digest: str) -> bytes:
    """32 bytes of 64 lower-case hexadecimal digits."""
    if not isinstance(digest, str) or _HASH.fullmatch(digest) is None:
        raise InvalidArgumentError(f"a hash is 64 hexadecimal digits, not {shown(digest)}")
    return bytes.fromhex(digest)


def encode_flag(is_set: bool) -> bytes:  # noqa: FBT001 - the value itself
    """0xFF or nothing."""
    if not isinstance(is_set, bool):
        raise InvalidArgumentError(f"a flag is True or False, not {shown(is_set)}")
    return b"\xff" if is_set else b""


def encode_destination(destination: Destination) -> bytes:
    """``+id``, ``$user FF pushkey`` or a server's name, which begins with neither sigil."""
    match destination:
        case Appservice(id):
            return b"+" + encode_id(id)
        case PushGateway(user, str(pushkey)) if pushkey:
            return b"$%b\xff%b" % (encode_id(user), _utf8(pushkey))
        case FederationServer(str(name)) if name[:1] not in ("+", "$"):
            return encode_id(name)
    raise InvalidArgumentError(f"not a destination: {shown(destination)}")


def decode_destination(raw: bytes) -> Destination:
    """The inverse."""
    first, *pushkey = [part.decode() for part in raw.split(b"\xff")]
    if first[:1] == "+":
        return Appservice(AppserviceId(first[1:]))
    if first[:1] == "$":
        return PushGateway(UserId(first[1:]), "".join(pushkey))
    return FederationServer(ServerName(first))


def encode_queued(item: PduId | int) -> bytes:
    """An event's key, or the count of an EDU: told apart by their length."""
    if isinstance(item, PduId):
        return encode_u64(item.short_room) + encode_position(item.position)
    return encode_u64(item)


def decode_queued(raw: bytes) -> PduId | int:
    """The inverse."""
    if len(raw) == 8:
        return int.from_bytes(raw)
    return PduId(ShortRoomId(int.from_bytes(raw[:8])), PduCount(decode_position(raw[8:])))


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
    "position": FieldKind(encode_position, decode_position, rb"\0{8}.{8}|.{8}"),
    "biased": FieldKind(encode_biased, decode_biased, rb".{8}"),
    "u8": FieldKind(encode_u8, int.from_bytes, rb"."),
    "whole": FieldKind(_utf8, bytes.decode, rb"[^\xff]*"),
    "u32": FieldKind(encode_u32, int.from_bytes, rb".{4}"),
    "hash": FieldKind(encode_hash, bytes.hex, rb".{32}"),
    "flag": FieldKind(encode_flag, bool, rb"\xff?"),
    "destination": FieldKind(
        encode_destination,
        decode_destination,
        rb"\$[^\xff]+\xff[^\xff]+|\+[^\xff]+|[^\xff$+][^\xff]*",
    ),
    "queued": FieldKind(encode_queued, decode_queued, rb".{8}(?:\0{8})?.{8}|.{8}"),
}


class KeyShape:
    """The fields of a tree's key, or of a value built like one.

    Attributes:
        tree: whose keys these are; a key that does not fit is reported under this name.
        notation: the shape as it was written.
        fields: the names of the fields, in order.
        kinds: what each of them is, by the names of ``FIELD_KINDS``.
        pack: ``pack(*values) -> bytes``, compiled from the notation.
    """

    __slots__ = (
        *("_decode", "_pattern", "_prefixes", "_templates"),
        *("fields", "kinds", "notation", "pack", "tree"),
    )

    def __init__(self, tree: str, notation: str) -> None:
        self.tree = tree
        self.notation = notation
        tokens = [token.partition(":") for token in notation.split()]
        fields = [(name, kind or "id") for name, _, kind in tokens if name != "ff"]
        self.fields = tuple(name for name, _ in fields)
        self.kinds = tuple(kind for _, kind in fields)
        self._decode = _compile_cut([kind for _, kind in fields])
        self._pattern = re.compile(
            b"".join(
                b"\xff" if name == "ff" else b"(%b)" % FIELD_KINDS[kind or "id"].pattern
                for name, _, kind in tokens
            ),
            re.DOTALL,
        )
        self._templates = [_template(tokens, total) for total in range(len(fields) + 1)]
        self._prefixes = [
            _compile_join(fields[:total], template)
            for total, template in enumerate(self._templates)
        ]
        self.pack: Callable[..., bytes] = self._prefixes[-1]

    def prefix(self, *leading: object) -> bytes:
        """The bytes that every key with these leading values begins with, separator included."""
        return self._prefixes[len(leading)](*leading)

    def counts(self, *leading: object, since: int, upto: int) -> tuple[bytes, bytes]:
        """The half-open key range of the counts in (since, upto] that follow ``leading``.

        Empty where ``since >= upto``; an ``upto`` of 2^64-1 means all there are.
        """
        head = self._prefixes[len(leading)](*leading)
        return head + _encode_next(since), head + _encode_next(upto)

    def unpack(self, key: bytes) -> tuple[Any, ...]:
        """The values of the fields: text as ``str``, counts and positions as ``int``.

        Raises:
            CorruptedError: the key does not have this shape.
        """
        try:
            return self._decode(*self.cut(key))
        except UnicodeDecodeError as error:
            raise CorruptedError(self.tree, 0, f"{key!r} holds bad UTF-8: {error}") from error

    def cut(self, key: bytes) -> tuple[bytes, ...]:
        """The bytes of the fields.

        Unlike values, they fit into other keys as they are: folded text is not folded again.

        Raises:
            CorruptedError: the key does not have this shape.
        """
        match = self._pattern.fullmatch(key)
        if match is None:
            raise CorruptedError(self.tree, 0, f"{key!r} is not {self.notation!r}")
        return match.groups()

    def join(self, *raw: bytes) -> bytes:
        """The inverse of :meth:`cut`; of leading fields only, what their keys begin with."""
        return self._templates[len(raw)] % raw


def _encode_next(count: int) -> bytes:
    if type(count) is int and 0 <= count < U64_MAX:
        return _U64.pack(count + 1)
    return _U64.pack(check_u64(count))  # The counter never gets there: nothing is cut off.


def _template(tokens: list[tuple[str, str, str]], total: int) -> bytes:
    """What the first ``total`` fields are put into, with the separator behind them."""
    template, joined = b"", 0
    for name, _, _ in tokens:
        if name != "ff":
            if joined == total:
                break
            joined += 1
        template += b"\xff" if name == "ff" else b"%b"
    return template


def _compile_cut(kinds: list[str]) -> Callable[..., tuple[Any, ...]]:
    """One lambda that decodes the bytes of all fields."""
    names = [f"field_{number}" for number in range(len(kinds))]
    calls = "".join(f"decode_{kind}({name}), " for kind, name in zip(kinds, names, strict=True))
    decoders = {f"decode_{kind}": field.decode for kind, field in FIELD_KINDS.items()}
    source = f"lambda {', '.join(names)}: ({calls})"
    decode: Callable[..., tuple[Any, ...]] = eval(source, decoders)  # noqa: S307 - as below
    return decode


def _compile_join(fields: list[tuple[str, str]], template: bytes) -> Callable[..., bytes]:
    """One lambda that encodes the fields and puts them into the template."""
    for name, _ in fields:
        if not name.isidentifier():
            raise ValueError(f"not a field name: {name!r}")
    calls = "".join(f"encode_{kind}({name}), " for name, kind in fields)
    encoders = {f"encode_{kind}": field.encode for kind, field in FIELD_KINDS.items()}
    source = f"lambda {', '.join(name for name, _ in fields)}: {template!r} % ({calls})"
    join: Callable[..., bytes] = eval(source, encoders)  # noqa: S307 - our own shapes, no input
    return join
