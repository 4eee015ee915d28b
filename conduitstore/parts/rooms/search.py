"""The words of messages, room by room: which events have all words of a question, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from conduitstore.codec.mentions import text_in
from conduitstore.codec.positions import LAST, PDU_ID, parse_token, token_of
from conduitstore.codec.values import EMPTY
from conduitstore.codec.words import words
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Item
from conduitstore.parts.arguments import check_page_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import PduCount, PduToken, PlacedEvent, RoomId, ShortRoomId

_WORD = TREES["tokenids"].key


class ShortIds(Protocol):
    """Numbers for rooms."""

    def room(self, room: RoomId) -> ShortRoomId | None: ...


class RoomParts(Protocol):
    """The parts of rooms."""

    @property
    def short(self) -> ShortIds: ...


class SearchNear(Near, Protocol):
    """The short ids that the index is made of."""

    @property
    def rooms(self) -> RoomParts: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found in a room.

    Attributes:
        positions: of events that have every word, newest first.
        words: those looked for, to be highlighted; none where the question has none.
        next_batch: where to go on; None when there are no more.
    """

    positions: list[PduCount]
    words: list[str]
    next_batch: PduToken | None = None


class Search(Part[SearchNear]):
    """Tree: ``tokenids``. It is kept by what changes the timeline."""

    _words = TreeOf("tokenids")

    @atomic
    def add(self, event: PlacedEvent) -> None:
        """Index the words of a message. Cost: a write for each. Source: Conduit, index_pdu."""
        for key, value in rows_of(event):
            self._words.put(key, value)

    @atomic
    def remove(self, event: PlacedEvent) -> None:
        """Forget an event, given as it was indexed. Source: Conduit, deindex_pdu."""
        for key, _ in rows_of(event):
            self._words.put(key, None)

    @consistent
    def find(self, room: RoomId, text: str, limit: int, start: PduToken | None = None) -> Found:
        """Up to ``limit`` events of a room that have all words of ``text``, newest first.

        Args:
            room: an unknown one has no events.
            text: cut into words like the messages were.
            limit: 1 or more.
            start: the token of the page before.

        Cost: a seek in each word's rows for each event found, and for each that only the rarer
        words have. Source: Conduit, search_pdus.
        """
        if not isinstance(text, str):
            raise InvalidArgumentError(f"text to search for, not {shown(text)}")
        check_page_limit(limit)
        before = LAST if start is None else parse_token(start)
        sought = words(text)
        short_room = self._near.rooms.short.room(room)
        if short_room is None or not sought:
            return Found([], sought)
        places = self._with_all(sought, short_room, PDU_ID.pack(short_room, before or PduCount(1)))
        keys = list(islice(places, min(limit, _PAGE_MAX) + 1))
        positions = [PduCount(PDU_ID.unpack(key)[1]) for key in keys[:limit]]
        more = len(keys) > limit
        return Found(positions, sought, token_of(positions[-1]) if more else None)

    def _with_all(
        self, sought: list[str], short_room: ShortRoomId, bound: bytes
    ) -> Iterator[bytes]:
        """PduIds below ``bound`` that have every word, newest first."""
        first, *others = [_WORD.prefix(short_room, word) for word in sought]
        while (place := self._newest(first, bound)) is not None:
            bound = place
            for prefix in others:
                other = self._newest(prefix, place + b"\0")
                if other is None:
                    return
                if other != place:
                    bound = other + b"\0"  # Nothing between has this word.
                    break
            else:
                yield place

    def _newest(self, prefix: bytes, below: bytes) -> bytes | None:
        item = next(self._words.range(prefix, prefix + below, reverse=True, limit=1), None)
        return None if item is None else item[0][len(prefix) :]


_PAGE_MAX = (1 << 62) - 1  # What islice takes.


def rows_of(event: PlacedEvent) -> list[Item]:
    """The rows that an event makes, one for each of its words."""
    short_room, position = event.id
    found = words(text_in(event.pdu))
    return [(_WORD.pack(short_room, word, short_room, position), EMPTY) for word in found]
