"""How long what may go is kept."""

from __future__ import annotations

from dataclasses import dataclass

from conduitstore.codec.keys import check_u64

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GcOptions:
    """Ages, in milliseconds, and a few bounds; the defaults suit a server that runs gc daily.

    Attributes:
        answers_ms: answers to requests, by their transaction ids; clients repeat within minutes.
        expired_tokens_ms: access tokens after they have expired: until then the server can tell a
            client that it was logged out softly.
        spent_tokens_ms: spent refresh tokens: until then a second use is known for what it is.
        originals_ms: redacted events as they were.
        presence_ms: presence of those who are offline.
        backoff_ms: servers that failed, and that nobody has tried to reach since.
        previews_ms: what linked pages looked like.
        auth_chains_bytes: remembered auth chains, all together.
        young_counts: unnamed room states as recent as this many counts stay: somebody may be about
            to name them.
        messages_ms: messages, by the time they say they are from; None: all stay. State events,
            and what rooms need, stay in any case.
    """

    answers_ms: int = DAY_MS
    expired_tokens_ms: int = 90 * DAY_MS
    spent_tokens_ms: int = 90 * DAY_MS
    originals_ms: int = 60 * DAY_MS
    presence_ms: int = 30 * DAY_MS
    backoff_ms: int = 30 * DAY_MS
    previews_ms: int = 30 * DAY_MS
    auth_chains_bytes: int = 64 * 1024 * 1024
    young_counts: int = 10_000
    messages_ms: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if name != "messages_ms" or self.messages_ms is not None:
                check_u64(getattr(self, name))
