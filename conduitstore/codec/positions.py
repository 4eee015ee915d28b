"""Places in a room's timeline: tokens, and the key ranges to walk from them.

Conduit's two kinds are one signed number here: Normal(n) is ``n`` and Backfilled(n) is ``-n``.
Every backfilled event sorts before every normal one, later backfills further back.

- A walk excludes the place it starts from, in both directions.
- Counts begin at 1, so no event is at 0. As bytes Normal(0) sorts below the backfilled rows, as a
  position above them; a walk from 0 therefore starts at the key of 1.
"""

from __future__ import annotations

import re

from conduitstore.codec.keys import U64_MAX, KeyShape, decode_position
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.kv import prefix_end
from conduitstore.types import Direction, PduCount, PduToken, ShortRoomId

PDU_ID = KeyShape("pduid_pdu", "short_room:u64 position:position")
FIRST = PduCount(-U64_MAX)
LAST = PduCount(U64_MAX)

_TOKEN = re.compile(r"-?[0-9]{1,20}")


def token_of(position: PduCount) -> PduToken:
    """The text a client gets: ``"42"``, or ``"-42"`` for a backfilled event."""
    return PduToken(str(position))


def parse_token(token: str) -> PduCount:
    """The inverse of :func:`token_of`."""
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        position = int(token)
        if FIRST <= position <= LAST:
            return PduCount(position)
    raise InvalidArgumentError(f"not a timeline token: {shown(token)}")


def position_in(key: bytes) -> PduCount:
    """The place in a timeline's key; every event that is read is asked for it.

    Raises:
        CorruptedError: this is no such key.
    """
    if len(key) == 16:
        return PduCount(int.from_bytes(key[8:]))
    if len(key) == 24:
        return PduCount(decode_position(key[8:]))
    raise CorruptedError("pduid_pdu", 0, f"{key!r} is no room and position")


def keys_before(short_room: ShortRoomId, position: PduCount) -> tuple[bytes, bytes]:
    """The half-open key range of a room's events older than ``position``."""
    return PDU_ID.prefix(short_room), PDU_ID.pack(short_room, 1 if position == 0 else position)


def keys_after(short_room: ShortRoomId, position: PduCount) -> tuple[bytes, bytes | None]:
    """The half-open key range of a room's events newer than ``position``."""
    at = PDU_ID.pack(short_room, 1 if position == 0 else position)
    start = at if position == 0 else at + b"\0"
    return start, prefix_end(PDU_ID.prefix(short_room))


def keys_beyond(
    short_room: ShortRoomId, position: PduCount | None, direction: Direction
) -> tuple[bytes, bytes | None]:
    """The half-open key range of a room's events beyond ``position``; of all of them from None."""
    if position is None:
        prefix = PDU_ID.prefix(short_room)
        return prefix, prefix_end(prefix)
    return (keys_before if direction == "b" else keys_after)(short_room, position)
