"""Getting rid of media: on demand, by age, by last use, and to make room.

What these drop is gone from the rows in their own commit; the bytes go afterwards, with
:meth:`~conduitstore.parts.media.contents.Contents.delete_files`. Of blocked media only the bytes
go: what it was is kept, so that the same bytes are known when they come again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from conduitstore.codec.keys import check_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.arguments import listed
from conduitstore.parts.media.records import (
    KINDS,
    Dimensions,
    FileInfo,
    MediaItem,
    MediaKind,
    Selection,
    Usage,
    now_or,
)
from conduitstore.parts.part import Near, Part, atomic
from conduitstore.types import FileHash, Mxc


@dataclass(frozen=True, slots=True, kw_only=True)
class KindLimits:
    """Limits for the files of one kind; None is no limit.

    Attributes:
        bytes_max: all of them together.
        age_secs_max: since they were created.
        unused_secs_max: since they were last used.
    """

    bytes_max: int | None = None
    age_secs_max: int | None = None
    unused_secs_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for each kind, and for the bytes of all together."""

    local: KindLimits = field(default_factory=KindLimits)
    remote: KindLimits = field(default_factory=KindLimits)
    thumbnail: KindLimits = field(default_factory=KindLimits)
    bytes_max: int | None = None

    def of(self, kind: MediaKind) -> KindLimits:
        """The limits of a kind."""
        if kind not in KINDS:
            raise InvalidArgumentError(f"a kind is one of {', '.join(KINDS)}, not {shown(kind)}")
        found: KindLimits = getattr(self, kind)
        return found


class ContentsPart(Protocol):
    """The files that are there."""

    def info(self, file: FileHash) -> FileInfo | None: ...
    def drop(self, file: FileHash) -> bool: ...
    def usage(self, kind: MediaKind) -> Usage: ...
    def least_used(self, kind: MediaKind) -> Iterator[tuple[int, FileHash, int]]: ...
    def oldest(self, kind: MediaKind) -> Iterator[tuple[int, FileHash, int]]: ...


class FilesPart(Protocol):
    """Which file stands behind media."""

    def file_of(self, mxc: Mxc) -> FileHash | None: ...
    def select(self, selection: Selection) -> list[MediaItem]: ...
    def drop(self, mxc: Mxc) -> None: ...
    def drop_file(self, file: FileHash) -> None: ...


class ThumbnailsPart(Protocol):
    """What was made of media."""

    def all(self, mxc: Mxc) -> list[MediaItem]: ...
    def drop(self, mxc: Mxc, dimensions: Dimensions) -> None: ...


class BlocksPart(Protocol):
    """What nobody may have."""

    def is_blocked_file(self, file: FileHash) -> bool: ...


class MediaParts(Protocol):
    """The other parts of media."""

    @property
    def contents(self) -> ContentsPart: ...
    @property
    def files(self) -> FilesPart: ...
    @property
    def thumbnails(self) -> ThumbnailsPart: ...
    @property
    def blocks(self) -> BlocksPart: ...


class RetentionNear(Near, Protocol):
    """The other parts of media."""

    @property
    def media(self) -> MediaParts: ...


class Retention(Part[RetentionNear]):
    """No trees: it drops what the other parts of media keep."""

    # On demand ----------------------------------------------------------------------------------
    @atomic
    def purge(self, media: Iterable[Mxc], *, force: bool = False) -> list[FileHash]:
        """Forget media with their thumbnails, in one commit; gives the files that went.

        A file goes with its last use; with ``force``, with all else that has the same bytes.
        Source: Conduit, purge_and_get_hashes.
        """
        return self._purge([(mxc, None) for mxc in listed(media, "media")], force=force)

    @atomic
    def purge_selected(self, selection: Selection, *, force: bool = False) -> list[FileHash]:
        """:meth:`purge` of what fits a selection: of a user, of a server, of a time, of a size.

        A thumbnail that fits goes by itself, where its media does not fit.
        Source: Conduit, purge_and_get_hashes_from_user and purge_and_get_hashes_from_server.
        """
        items = self._near.media.files.select(selection)
        return self._purge([(item.mxc, item.dimensions) for item in items], force=force)

    def _purge(self, names: list[tuple[Mxc, Dimensions | None]], *, force: bool) -> list[FileHash]:
        contents, touched = self._near.media.contents, dict[FileHash, None]()
        for mxc, dimensions in names:
            for size, file in self._rows(mxc, dimensions):
                if contents.info(file) is not None:
                    touched[file] = None
                self._purge_row(mxc, size, file, force=force)
        return [file for file in touched if contents.info(file) is None]

    def _rows(
        self, mxc: Mxc, dimensions: Dimensions | None
    ) -> list[tuple[Dimensions | None, FileHash]]:
        """The rows that a name stands for: of media, those of its thumbnails too."""
        found: list[tuple[Dimensions | None, FileHash]] = [
            (item.dimensions, item.file)
            for item in self._near.media.thumbnails.all(mxc)
            if dimensions in (None, item.dimensions)
        ]
        file = self._near.media.files.file_of(mxc) if dimensions is None else None
        return found if file is None else [*found, (None, file)]

    def _purge_row(
        self, mxc: Mxc, dimensions: Dimensions | None, file: FileHash, *, force: bool
    ) -> None:
        if force or self._near.media.blocks.is_blocked_file(file):
            self._drop_file(file)
        elif dimensions is None:
            self._near.media.files.drop(mxc)
        else:
            self._near.media.thumbnails.drop(mxc, dimensions)

    def _drop_file(self, file: FileHash) -> None:
        """Drop a file and all it is behind; of a blocked one only the bytes."""
        if self._near.media.blocks.is_blocked_file(file):
            self._near.media.contents.drop(file)
        else:
            self._near.media.files.drop_file(file)

    # By policy ----------------------------------------------------------------------------------
    @atomic
    def make_room(
        self, limits: Limits, kind: MediaKind, new_bytes: int, *, file: FileHash | None = None
    ) -> list[FileHash]:
        """Drop files, those not used for longest first, until ``new_bytes`` more fit the limits.

        First among the files of that kind, then among all. Nothing goes where ``file`` is there
        already. Cost: one step for each file that goes. Source: Conduit, files_to_delete.

        Raises:
            InvalidArgumentError: the new file alone is over a limit; nothing was dropped.
        """
        check_u64(new_bytes)
        if file is not None and self._near.media.contents.info(file) is not None:
            return []
        limit = limits.of(kind).bytes_max
        for most in (limit, limits.bytes_max):
            if most is not None and new_bytes > check_u64(most):
                raise InvalidArgumentError(f"a file of {new_bytes} bytes is over {most} by itself")
        dropped = self._free([kind], limit, new_bytes)
        return dropped + self._free(KINDS, limits.bytes_max, new_bytes)

    def _free(
        self, kinds: Iterable[MediaKind], bytes_max: int | None, new_bytes: int
    ) -> list[FileHash]:
        contents, dropped = self._near.media.contents, []
        if bytes_max is not None:
            for _, file, _ in heapq.merge(*[contents.least_used(kind) for kind in kinds]):
                if sum(contents.usage(kind).bytes for kind in kinds) + new_bytes <= bytes_max:
                    break
                if contents.info(file) is not None:  # It may have gone with one before it.
                    self._drop_file(file)
                    dropped.append(file)
        return dropped

    @atomic
    def expire(self, limits: Limits, *, now_secs: int | None = None) -> list[FileHash]:
        """Drop the files that are too old, or were not used for too long; gives which.

        Cost: one step for each file that goes. Source: Conduit, cleanup_time_retention.
        """
        now, contents, dropped = now_or(now_secs), self._near.media.contents, []
        for kind in KINDS:
            limit = limits.of(kind)
            dropped += self._expire(contents.oldest(kind), limit.age_secs_max, now)
            dropped += self._expire(contents.least_used(kind), limit.unused_secs_max, now)
        return dropped

    def _expire(
        self, files: Iterator[tuple[int, FileHash, int]], secs_max: int | None, now: int
    ) -> list[FileHash]:
        dropped: list[FileHash] = []
        if secs_max is not None:
            for secs, file, _ in files:
                if secs + secs_max >= now:
                    break
                if self._near.media.contents.info(file) is not None:
                    self._drop_file(file)
                    dropped.append(file)
        return dropped
