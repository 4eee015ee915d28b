"""Media that nobody may have. What was blocked is known again by its bytes, under any id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from conduitstore.parts.arguments import listed
from conduitstore.parts.media.records import Block, Dimensions, MediaItem, Selection, now_or
from conduitstore.parts.media.rows import key_of, text_of
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import FileHash, Mxc

_MEDIA = TREES["blocked_servername_mediaid"].key
_BLOCK = TREES["blocked_servername_mediaid"].value_fields


class FilesPart(Protocol):
    """Which file stands behind what."""

    def file_of(self, mxc: Mxc) -> FileHash | None: ...
    def media_of(self, file: FileHash) -> list[Mxc]: ...
    def select(self, selection: Selection) -> list[MediaItem]: ...
    def settle(self, file: FileHash) -> None: ...


class ThumbnailsPart(Protocol):
    """What was made of media."""

    def all(self, mxc: Mxc) -> list[MediaItem]: ...
    def of_file(self, file: FileHash) -> list[tuple[Mxc, Dimensions]]: ...


class MediaParts(Protocol):
    """The other parts of media."""

    @property
    def files(self) -> FilesPart: ...
    @property
    def thumbnails(self) -> ThumbnailsPart: ...


class BlocksNear(Near, Protocol):
    """The other parts of media."""

    @property
    def media(self) -> MediaParts: ...


class Blocks(Part[BlocksNear]):
    """Tree: ``blocked_servername_mediaid``. The media need not be here, nor ever have been."""

    _rows = TreeOf("blocked_servername_mediaid")

    @atomic
    def block(
        self, media: Iterable[Mxc], reason: str | None = None, *, now_secs: int | None = None
    ) -> None:
        """Block media; a block that is there already gets this time and reason.

        The bytes stay until they are purged. Source: Conduit, block.
        """
        value = _BLOCK.pack(now_or(now_secs), text_of(reason))
        for mxc in listed(media, "media"):
            self._rows.put(key_of(_MEDIA, mxc), value)

    @atomic
    def block_selected(
        self, selection: Selection, reason: str | None = None, *, now_secs: int | None = None
    ) -> list[Mxc]:
        """Block what fits a selection, as all that a user uploaded lately; gives what that was.

        Source: Conduit, block_from_user.
        """
        items = self._near.media.files.select(selection)
        media = list(dict.fromkeys(item.mxc for item in items))
        self.block(media, reason, now_secs=now_secs)
        return media

    @atomic
    def unblock(self, media: Iterable[Mxc]) -> int:
        """Take blocks back; gives how many there were. Media without a block is fine.

        Where the bytes were purged, what was kept to know them again goes: a remote server's media
        can be fetched anew. Source: Conduit, unblock.
        """
        return sum([self._unblock(mxc) for mxc in listed(media, "media")])

    def _unblock(self, mxc: Mxc) -> bool:
        if self._rows.remove(key_of(_MEDIA, mxc)) is None:
            return False
        for file in self._files(mxc):
            self._near.media.files.settle(file)
        return True

    def _files(self, mxc: Mxc) -> list[FileHash]:
        file, thumbnails = self._near.media.files.file_of(mxc), self._near.media.thumbnails
        return [item.file for item in thumbnails.all(mxc)] + ([] if file is None else [file])

    @consistent
    def is_blocked(self, mxc: Mxc) -> bool:
        """Whether this media, or any other of the same bytes, is blocked.

        Cost: one point read for each media with these bytes; one where nothing is blocked.
        Source: Conduit, is_blocked.
        """
        if self._rows.contains_key(key_of(_MEDIA, mxc)):
            return True
        file = self._near.media.files.file_of(mxc)
        return file is not None and self.is_blocked_file(file)

    @consistent
    def is_blocked_file(self, file: FileHash) -> bool:
        """Whether media or a thumbnail of it with these bytes is blocked.

        Source: Conduit, is_blocked_filehash.
        """
        if self._rows.first() is None:  # As on most servers.
            return False
        media = self._near.media.files.media_of(file)
        media += [mxc for mxc, _ in self._near.media.thumbnails.of_file(file)]
        return any(self._rows.contains_key(_MEDIA.pack(*mxc)) for mxc in media)

    def get(self, mxc: Mxc) -> Block | None:
        """The block of this very id."""
        value = self._rows.get(key_of(_MEDIA, mxc))
        return None if value is None else _unpack(mxc, value)

    def all(self) -> list[Block]:
        """Every block, by server and media id. Source: Conduit, list_blocked."""
        return [_unpack(Mxc(*_MEDIA.unpack(key)), value) for key, value in self._rows]


def _unpack(mxc: Mxc, value: bytes) -> Block:
    blocked_secs, reason = _BLOCK.unpack(value)
    return Block(mxc, blocked_secs, reason or None)
