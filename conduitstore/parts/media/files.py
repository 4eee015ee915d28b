"""Which file stands behind a media id, and under which name and type.

- A file is behind as many media and thumbnails as were uploaded with the same bytes. It goes with
  the last of them: references are counted in the transaction that drops one, by looking.
- Only of blocked bytes are there media without a file: what they were is kept, so that the same
  bytes are known when they come again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from conduitstore.codec.values import EMPTY
from conduitstore.parts.media.records import (
    Block,
    Dimensions,
    FileInfo,
    Media,
    MediaItem,
    MediaKind,
    Selection,
    check_selection,
    now_or,
)
from conduitstore.parts.media.rows import file_of, item_of, key_of, pack_row
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent, explained
from conduitstore.schema import TREES
from conduitstore.types import FileHash, Mxc, ServerName, UserId

_MEDIA = TREES["servernamemediaid_metadata"].key
_BEHIND = TREES["filehash_servername_mediaid"].key


class ContentsPart(Protocol):
    """The files that are there."""

    def put(self, content: Iterable[bytes]) -> tuple[FileHash, int]: ...
    def add(self, file: FileHash, size_bytes: int, kind: MediaKind, now_secs: int) -> None: ...
    def info(self, file: FileHash) -> FileInfo | None: ...
    def touch(self, file: FileHash, now_secs: int) -> None: ...
    def drop(self, file: FileHash) -> bool: ...
    def discard(self, file: FileHash) -> None: ...


class ThumbnailsPart(Protocol):
    """What was made of media."""

    def all(self, mxc: Mxc) -> list[MediaItem]: ...
    def items(self, *leading: ServerName | str) -> Iterator[MediaItem]: ...
    def of_file(
        self, file: FileHash, *, limit: int | None = None
    ) -> list[tuple[Mxc, Dimensions]]: ...
    def remove(self, mxc: Mxc, dimensions: Dimensions) -> list[FileHash]: ...
    def remove_all(self, mxc: Mxc) -> list[FileHash]: ...


class BlocksPart(Protocol):
    """What nobody may have."""

    def get(self, mxc: Mxc) -> Block | None: ...
    def is_blocked(self, mxc: Mxc) -> bool: ...
    def is_blocked_file(self, file: FileHash) -> bool: ...


class UploadersPart(Protocol):
    """Who uploaded what."""

    def replace(self, mxc: Mxc, uploader: UserId | None) -> None: ...
    def of(self, mxc: Mxc) -> UserId | None: ...
    def uploads(self, uploader: UserId) -> list[Mxc]: ...


class MediaParts(Protocol):
    """The other parts of media."""

    @property
    def uploaders(self) -> UploadersPart: ...
    @property
    def contents(self) -> ContentsPart: ...
    @property
    def thumbnails(self) -> ThumbnailsPart: ...
    @property
    def blocks(self) -> BlocksPart: ...


class FilesNear(Near, Protocol):
    """The other parts of media."""

    @property
    def media(self) -> MediaParts: ...


class Files(Part[FilesNear]):
    """Trees: ``servernamemediaid_metadata``, and ``filehash_servername_mediaid`` by file."""

    _rows = TreeOf("servernamemediaid_metadata")
    _behind = TreeOf("filehash_servername_mediaid")

    # Arriving -----------------------------------------------------------------------------------
    @explained
    def upload(
        self,
        mxc: Mxc,
        content: Iterable[bytes],
        *,
        kind: MediaKind = "local",
        filename: str | None = None,
        content_type: str | None = None,
        uploader: UserId | None = None,
    ) -> FileHash:
        """Put the bytes, then :meth:`create`. Best called on the store: others would wait.

        Raises:
            ConflictError: the same bytes were deleted at this very moment: upload again.
        """
        file, size_bytes = self._near.media.contents.put(content)
        names = {"filename": filename, "content_type": content_type, "uploader": uploader}
        self.create(mxc, file, size_bytes, kind=kind, **names)  # type: ignore[arg-type]
        return file

    @atomic
    def create(
        self,
        mxc: Mxc,
        file: FileHash,
        size_bytes: int,
        *,
        kind: MediaKind = "local",
        filename: str | None = None,
        content_type: str | None = None,
        uploader: UserId | None = None,
        unauthenticated: bool = False,
        now_secs: int | None = None,
    ) -> None:
        """Note what stands behind a media id; what stood there before is replaced.

        The bytes were put before. Of blocked ones only that is noted, and they are dropped.
        Source: Conduit, create_file_metadata.

        Raises:
            ConflictError: the bytes were not put, or are gone again.
            InvalidArgumentError: the uploader is of another server than the media.
        """
        key = key_of(_MEDIA, mxc)
        row = pack_row(file, filename, content_type, unauthenticated=unauthenticated)
        old = self._rows.insert(key, row)
        self._behind.put(_BEHIND.pack(file, *mxc), EMPTY)
        self._near.media.uploaders.replace(mxc, uploader)
        self.arrive(file, size_bytes, kind, now_secs)
        if old is not None and file_of(old) != file:
            self._behind.put(_BEHIND.pack(file_of(old), *mxc), None)
            self.settle(file_of(old))

    @atomic
    def arrive(
        self, file: FileHash, size_bytes: int, kind: MediaKind, now_secs: int | None
    ) -> None:
        """Note that the bytes behind new rows are there, or drop them if they are blocked."""
        contents = self._near.media.contents
        if not self._near.media.blocks.is_blocked_file(file):
            contents.add(file, size_bytes, kind, now_or(now_secs))
        elif contents.info(file) is None:
            contents.discard(file)

    @atomic
    def touch(self, mxc: Mxc, now_secs: int | None = None) -> None:
        """Note that media was used, now or then; nothing happens where it is gone.

        Source: Conduit, update_last_accessed.
        """
        row = self._rows.get(key_of(_MEDIA, mxc))
        if row is not None:
            self._near.media.contents.touch(file_of(row), now_or(now_secs))

    # Reading ------------------------------------------------------------------------------------
    @consistent
    def get(self, mxc: Mxc) -> MediaItem | None:
        """The media; None where it is unknown or its bytes are gone.

        Cost: two point reads. Source: Conduit, search_file_metadata, for which that is an error.
        """
        item = self._find(mxc)
        return None if item is None or item.info is None else item

    def _find(self, mxc: Mxc) -> MediaItem | None:
        row = self._rows.get(key_of(_MEDIA, mxc))
        return None if row is None else self._item(mxc, row)

    def _item(self, mxc: Mxc, row: bytes) -> MediaItem:
        return item_of(mxc, None, row, self._near.media.contents.info(file_of(row)))

    @consistent
    def query(self, mxc: Mxc) -> Media:
        """All that is known of a media id, blocked or not. Source: Conduit, query."""
        media = self._near.media
        return Media(
            file=self._find(mxc),
            thumbnails=media.thumbnails.all(mxc),
            uploader=media.uploaders.of(mxc),
            block=media.blocks.get(mxc),
            is_blocked=media.blocks.is_blocked(mxc),
        )

    def file_of(self, mxc: Mxc) -> FileHash | None:
        """Which file a media id is, also where its bytes are gone."""
        row = self._rows.get(key_of(_MEDIA, mxc))
        return None if row is None else file_of(row)

    @consistent
    def select(self, selection: Selection) -> list[MediaItem]:
        """The media that fit a selection, and thumbnails if those are meant too.

        Cost: one range of the server's or the user's media; with neither, a look at all there are.
        Source: Conduit, list.
        """
        chosen = check_selection(selection)
        return [item for item in self._candidates(chosen) if chosen.fits(item)]

    def _candidates(self, chosen: Selection) -> Iterator[MediaItem]:
        if chosen.uploader is not None:
            yield from self._uploaded(chosen.uploader, chosen)
            return
        server = () if chosen.server is None else (chosen.server,)
        for key, row in self._rows.scan_prefix(_MEDIA.prefix(*server)):
            yield self._item(Mxc(*_MEDIA.unpack(key)), row)
        if chosen.thumbnails:
            yield from self._near.media.thumbnails.items(*server)

    def _uploaded(self, uploader: UserId, chosen: Selection) -> Iterator[MediaItem]:
        for mxc in self._near.media.uploaders.uploads(uploader):
            if chosen.server not in (None, mxc.server):
                return
            item = self._find(mxc)
            if item is not None:
                yield item
            if chosen.thumbnails:
                yield from self._near.media.thumbnails.all(mxc)

    # Going: for the parts that decide what goes ---------------------------------------------------
    @atomic
    def drop(self, mxc: Mxc) -> None:
        """Forget a media id and its uploader, not its thumbnails; its file goes with its last use.

        To get rid of media, see :class:`~conduitstore.parts.media.retention.Retention`.
        """
        for file in self._remove(mxc):
            self.settle(file)

    def _remove(self, mxc: Mxc) -> list[FileHash]:
        """Take the rows of a media id away; gives the file it was."""
        row = self._rows.remove(key_of(_MEDIA, mxc))
        if row is None:
            return []
        self._behind.put(_BEHIND.pack(file_of(row), *mxc), None)
        self._near.media.uploaders.replace(mxc, None)
        return [file_of(row)]

    @atomic
    def drop_file(self, file: FileHash) -> None:
        """Forget a file with all it is behind: media and their thumbnails, thumbnails of others."""
        thumbnails, loose = self._near.media.thumbnails, list[FileHash]()
        self._near.media.contents.drop(file)
        for mxc in self.media_of(file):
            loose += self._remove(mxc) + thumbnails.remove_all(mxc)
        for mxc, dimensions in thumbnails.of_file(file):
            loose += thumbnails.remove(mxc, dimensions)
        for other in dict.fromkeys(loose):
            if other != file:
                self.settle(other)

    @atomic
    def settle(self, file: FileHash) -> None:
        """After a reference to a file or a block went: keep the promises at the top of this module.

        A file nothing refers to is dropped; so are references to bytes that are gone, unless they
        are blocked.
        """
        media = self._near.media
        if not self.media_of(file, limit=1) and not media.thumbnails.of_file(file, limit=1):
            media.contents.drop(file)
        elif media.contents.info(file) is None and not media.blocks.is_blocked_file(file):
            self.drop_file(file)

    def media_of(self, file: FileHash, *, limit: int | None = None) -> list[Mxc]:
        """The media that a file is behind."""
        keys = self._behind.keys(_BEHIND.prefix(file), limit=limit)
        return [Mxc(*_BEHIND.unpack(key)[1:]) for key in keys]
