"""Thumbnails by the media they are of and their exact size. The media itself need not be here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from conduitstore.codec.values import EMPTY
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.media.records import Dimensions, FileInfo, MediaItem, MediaKind
from conduitstore.parts.media.rows import check_mxc, file_of, item_of, key_of, pack_row
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import FileHash, Mxc, ServerName

_THUMBNAIL = TREES["thumbnailid_metadata"].key
_BEHIND = TREES["filehash_thumbnailid"].key


class FilesPart(Protocol):
    """What a thumbnail needs to know of files."""

    def arrive(
        self, file: FileHash, size_bytes: int, kind: MediaKind, now_secs: int | None
    ) -> None: ...
    def settle(self, file: FileHash) -> None: ...


class ContentsPart(Protocol):
    """The files that are there."""

    def info(self, file: FileHash) -> FileInfo | None: ...


class MediaParts(Protocol):
    """The other parts of media."""

    @property
    def files(self) -> FilesPart: ...
    @property
    def contents(self) -> ContentsPart: ...


class ThumbnailsNear(Near, Protocol):
    """The other parts of media."""

    @property
    def media(self) -> MediaParts: ...


class Thumbnails(Part[ThumbnailsNear]):
    """Trees: ``thumbnailid_metadata``, and ``filehash_thumbnailid`` by file."""

    _rows = TreeOf("thumbnailid_metadata")
    _behind = TreeOf("filehash_thumbnailid")

    @atomic
    def create(
        self,
        mxc: Mxc,
        dimensions: Dimensions,
        file: FileHash,
        size_bytes: int,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        unauthenticated: bool = False,
        now_secs: int | None = None,
    ) -> None:
        """Note a thumbnail whose bytes were put; one of that size is replaced.

        Of blocked bytes only that is noted, and the bytes are dropped.
        Source: Conduit, create_thumbnail_metadata.

        Raises:
            ConflictError: the bytes were not put, or are gone again.
        """
        if dimensions is None:
            raise InvalidArgumentError("a thumbnail has Dimensions")
        row = pack_row(file, filename, content_type, unauthenticated=unauthenticated)
        old = self._rows.insert(key_of(_THUMBNAIL, mxc, dimensions), row)
        self._behind.put(_BEHIND.pack(file, *mxc, *dimensions), EMPTY)
        self._near.media.files.arrive(file, size_bytes, "thumbnail", now_secs)
        if old is not None and file_of(old) != file:
            self._behind.put(_BEHIND.pack(file_of(old), *mxc, *dimensions), None)
            self._near.media.files.settle(file_of(old))

    @consistent
    def get(self, mxc: Mxc, dimensions: Dimensions) -> MediaItem | None:
        """The thumbnail of exactly this size; None where it is unknown or its bytes are gone.

        Cost: two point reads. Source: Conduit, search_thumbnail_metadata.
        """
        row = self._rows.get(key_of(_THUMBNAIL, mxc, dimensions))
        if row is None:
            return None
        item = self._item(mxc, dimensions, row)
        return None if item.info is None else item

    def all(self, mxc: Mxc) -> list[MediaItem]:
        """Every thumbnail of a media id, also those whose bytes are gone."""
        return list(self.items(*check_mxc(mxc)))

    def items(self, *leading: ServerName | str) -> Iterator[MediaItem]:
        """Thumbnails of a media id, of a server's media, or all there are."""
        for key, row in self._rows.scan_prefix(_THUMBNAIL.prefix(*leading)):
            server, media_id, width, height = _THUMBNAIL.unpack(key)
            yield self._item(Mxc(server, media_id), Dimensions(width, height), row)

    def _item(self, mxc: Mxc, dimensions: Dimensions, row: bytes) -> MediaItem:
        return item_of(mxc, dimensions, row, self._near.media.contents.info(file_of(row)))

    def of_file(self, file: FileHash, *, limit: int | None = None) -> list[tuple[Mxc, Dimensions]]:
        """The thumbnails that a file is behind."""
        keys = self._behind.keys(_BEHIND.prefix(file), limit=limit)
        found = [_BEHIND.unpack(key) for key in keys]
        return [(Mxc(*fields[1:3]), Dimensions(*fields[3:])) for fields in found]

    @atomic
    def drop(self, mxc: Mxc, dimensions: Dimensions) -> None:
        """Forget one thumbnail; its file goes with its last use."""
        for file in self.remove(mxc, dimensions):
            self._near.media.files.settle(file)

    # For the files part, which settles what became of the files: ---------------------------------
    @atomic
    def remove(self, mxc: Mxc, dimensions: Dimensions) -> list[FileHash]:
        """Take one thumbnail's rows away; gives the file it was."""
        row = self._rows.remove(key_of(_THUMBNAIL, mxc, dimensions))
        if row is None:
            return []
        self._behind.put(_BEHIND.pack(file_of(row), *mxc, *dimensions), None)
        return [file_of(row)]

    @atomic
    def remove_all(self, mxc: Mxc) -> list[FileHash]:
        """Take the rows of all thumbnails of a media id away; gives the files they were."""
        sizes = [item.dimensions for item in self.all(mxc)]
        return [file for size in sizes if size for file in self.remove(mxc, size)]
