"""What the media parts hand out and take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, NamedTuple

from conduitstore.codec.keys import check_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.types import FileHash, Mxc, ServerName, UserId

MediaKind = Literal["local", "remote", "thumbnail"]
"""What a file counts as where space is limited; one that is several counts as the first of them."""

KINDS: tuple[MediaKind, ...] = ("local", "remote", "thumbnail")


class FileInfo(NamedTuple):
    """What is known of a file's bytes; times are Unix seconds."""

    size_bytes: int
    created_secs: int
    accessed_secs: int


class Usage(NamedTuple):
    """How many files of a kind there are, and how large they are together."""

    files: int
    bytes: int


class Dimensions(NamedTuple):
    """The size of a thumbnail, in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MediaItem:
    """A piece of media, or a thumbnail of one.

    Attributes:
        dimensions: of a thumbnail; None for the media itself.
        unauthenticated: whether it may be served on the endpoints that ask for no token.
        info: None where the bytes are gone, because they are blocked.
    """

    mxc: Mxc
    dimensions: Dimensions | None
    file: FileHash
    filename: str | None
    content_type: str | None
    unauthenticated: bool
    info: FileInfo | None


@dataclass(frozen=True, slots=True)
class Block:
    """Media that nobody may have."""

    mxc: Mxc
    blocked_secs: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Media:
    """All that is known of one media id.

    Attributes:
        file: None where only thumbnails, or a block, are known.
        block: set where this very id is blocked, not only its bytes.
        is_blocked: either.
    """

    file: MediaItem | None
    thumbnails: list[MediaItem]
    uploader: UserId | None
    block: Block | None
    is_blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which media are meant: those that fit everything given.

    Attributes:
        server: whose media.
        uploader: who uploaded them, which is known of local users only.
        thumbnails: whether thumbnails are meant too.
        content_type: ``image/png``, or without a slash all of a major type: ``image``.
        after_secs: created at this Unix second or later.
        before_secs: created before this Unix second.
        bytes_min: at least this large.
        bytes_max: at most this large.
    """

    server: ServerName | None = None
    uploader: UserId | None = None
    thumbnails: bool = True
    content_type: str | None = None
    after_secs: int | None = None
    before_secs: int | None = None
    bytes_min: int | None = None
    bytes_max: int | None = None

    def fits(self, item: MediaItem) -> bool:
        """Whether it is meant, as far as type, time and size go."""
        return self._fits_type(item.content_type) and self._fits_bytes(item.info)

    def _fits_type(self, content_type: str | None) -> bool:
        if self.content_type is None:
            return True
        if content_type is None:
            return False
        whole = content_type if "/" in self.content_type else content_type.partition("/")[0]
        return whole == self.content_type

    def _fits_bytes(self, info: FileInfo | None) -> bool:
        bounds = (self.after_secs, self.before_secs, self.bytes_min, self.bytes_max)
        if all(bound is None for bound in bounds):
            return True
        if info is None:
            return False
        return (
            (self.after_secs is None or info.created_secs >= self.after_secs)
            and (self.before_secs is None or info.created_secs < self.before_secs)
            and (self.bytes_min is None or info.size_bytes >= self.bytes_min)
            and (self.bytes_max is None or info.size_bytes <= self.bytes_max)
        )


def check_selection(selection: Selection) -> Selection:
    """``selection`` itself, or an :class:`InvalidArgumentError`."""
    if not isinstance(selection, Selection):
        raise InvalidArgumentError(f"not a Selection: {shown(selection)}")
    for name in ("after_secs", "before_secs", "bytes_min", "bytes_max"):
        bound = getattr(selection, name)
        if bound is not None:
            check_u64(bound)
    return selection


def now_or(secs: int | None) -> int:
    """``secs``, or this second."""
    return int(time.time()) if secs is None else check_u64(secs)
