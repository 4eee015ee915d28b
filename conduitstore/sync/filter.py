"""Which events a client's filter asks for, by what they are and who sent them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from conduitstore.types import JsonObject, UserId


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The part of a client's ``RoomEventFilter`` that looks at one event.

    Attributes:
        types: those to tell, ``*`` standing for anything; None for all.
        not_types: those to leave out, whatever ``types`` says.
        senders: whose events; None for everybody's.
        not_senders: whose not, whatever ``senders`` says.
        contains_url: whether their content must, or must not, have a ``url``.
    """

    types: Sequence[str] | None = None
    not_types: Sequence[str] = ()
    senders: Sequence[UserId] | None = None
    not_senders: Sequence[UserId] = ()
    contains_url: bool | None = None

    def is_wanted(self, pdu: JsonObject) -> bool:
        """Whether the event passes."""
        type, sender = pdu["type"], pdu["sender"]
        return (
            sender not in self.not_senders
            and (self.senders is None or sender in self.senders)
            and not any(_is_like(type, pattern) for pattern in self.not_types)
            and (self.types is None or any(_is_like(type, pattern) for pattern in self.types))
            and self.contains_url in (None, "url" in pdu["content"])
        )


def _is_like(text: str, pattern: str) -> bool:
    return text == pattern or ("*" in pattern and _compiled(pattern).fullmatch(text) is not None)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)
