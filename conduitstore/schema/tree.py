"""How a tree is described: key, value, whose it is, what it is worth and what empties it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from conduitstore.codec.keypairs import unpack_keypair
from conduitstore.codec.keys import KeyShape
from conduitstore.codec.records import unpack_fields
from conduitstore.codec.states import show_diff
from conduitstore.codec.values import (
    unpack_ids,
    unpack_json,
    unpack_text,
    unpack_u64,
    unpack_u64s,
)
from conduitstore.errors import CorruptedError

Worth = Literal["primary", "shared", "numbering", "derived", "disposable"]
"""What losing a tree costs.

primary: exists nowhere else. shared: other servers hold copies of parts. numbering: what uses its
numbers is lost with it. derived: rebuilt from other trees. disposable: may go at any time.
"""


def _unpack_empty(tree: str, value: bytes) -> str:
    if value:
        raise CorruptedError(tree, 0, f"a set member has no value, this one has {value!r}")
    return ""


def _unpack_servers(tree: str, value: bytes) -> list[str]:
    return [unpack_text(tree, server) for server in value.split(b"\xff")]


def _unpack_global(tree: str, value: bytes) -> int | str:
    if b"\xff" in value and len(value) > 8:
        return f"key pair {unpack_keypair(value).version}"  # The rest is secret.
    return unpack_u64(tree, value) if len(value) == 8 else unpack_text(tree, value)


def _unpack_queued(tree: str, value: bytes) -> Any:
    return unpack_json(tree, value) if value else None  # Where it is empty the key says it all.


VALUE_KINDS: dict[str, Callable[[str, bytes], Any]] = {
    "empty": _unpack_empty,
    "u64": unpack_u64,
    "text": unpack_text,
    "json": unpack_json,
    "pdu": unpack_json,  # Written as canonical JSON.
    "record": unpack_fields,  # A record of our own, as msgpack.
    "u64s": unpack_u64s,
    "servers": _unpack_servers,
    "state": show_diff,
    "ids": unpack_ids,  # Each with 0xFF behind it.
    "u64 or text": _unpack_global,
    "queued edu": _unpack_queued,
}


@dataclass(frozen=True, slots=True)
class TreeSchema:
    """One tree.

    Attributes:
        value: the notation of the value, for people: one of ``VALUE_KINDS``, or a key shape.
        owner: the part that opens it; no other does.
        gone: what removes its rows: operations by their names on a store, ``gc`` and
            ``delete_room`` among them; or ``never:`` and why it needs none. So no tree grows for
            ever unnoticed.
        ours: whether the tree is not Conduit's: a fork's, or of this project.
        room_scoped: whether each row belongs to one room and goes when the room is purged.
        value_shape: set where the value is built like a key.
    """

    name: str
    key: KeyShape
    value: str
    owner: str
    meaning: str
    worth: Worth
    gone: str
    ours: bool
    room_scoped: bool
    value_shape: KeyShape | None

    @property
    def emptied_by(self) -> list[str]:
        """The operations of :attr:`gone`; none where it has its reason."""
        return [] if self.gone.startswith("never: ") else self.gone.split()

    @property
    def value_fields(self) -> KeyShape:
        """The shape of a value built like a key, of a tree that has such."""
        assert self.value_shape is not None, self.name
        return self.value_shape


_ROOM_FIELDS = {"room", "short_room", "room_or_user"}


def tree(
    name: str,
    key: str,
    value: str,
    owner: str,
    meaning: str,
    *,
    worth: Worth,
    gone: str,
    ours: bool = False,
) -> TreeSchema:
    """One line of the catalogue. A key with a field of :data:`_ROOM_FIELDS` is room-scoped."""
    assert worth in get_args(Worth), worth
    fields = KeyShape(name, key)
    shape = None if value in VALUE_KINDS else KeyShape(name, value)
    room_scoped = not _ROOM_FIELDS.isdisjoint(fields.fields)
    return TreeSchema(name, fields, value, owner, meaning, worth, gone, ours, room_scoped, shape)
