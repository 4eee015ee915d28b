"""The rows that media and thumbnails share: a file with the name and type it was uploaded under."""

from __future__ import annotations

from conduitstore.codec.keys import KeyShape
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.media.records import Dimensions, FileInfo, MediaItem
from conduitstore.schema import TREES
from conduitstore.types import FileHash, Mxc, ServerName, UserId

_META = TREES["servernamemediaid_metadata"].value_fields


def pack_row(
    file: FileHash, filename: str | None, content_type: str | None, *, unauthenticated: bool
) -> bytes:
    """What is stored of media or of a thumbnail; an empty name is none."""
    return _META.pack(file, text_of(filename), text_of(content_type), unauthenticated)


def text_of(text: str | None) -> str:
    """Nothing as empty text."""
    return "" if text is None else text


def file_of(row: bytes) -> FileHash:
    """Which file a row is about."""
    return FileHash(_META.unpack(row)[0])


def item_of(
    mxc: Mxc, dimensions: Dimensions | None, row: bytes, info: FileInfo | None
) -> MediaItem:
    """A row as it is handed out."""
    file, filename, content_type, unauthenticated = _META.unpack(row)
    return MediaItem(
        mxc, dimensions, file, filename or None, content_type or None, unauthenticated, info
    )


def key_of(shape: KeyShape, mxc: Mxc, dimensions: Dimensions | None = None) -> bytes:
    """The key of a media id, or of a thumbnail of it."""
    return shape.pack(*check_mxc(mxc), *check_dimensions(dimensions))


def check_mxc(mxc: Mxc) -> Mxc:
    """``mxc`` itself, or an :class:`InvalidArgumentError`."""
    is_mxc = isinstance(mxc, Mxc) and isinstance(mxc.server, str) and isinstance(mxc.media_id, str)
    if not is_mxc or not mxc.server or not mxc.media_id or "/" in mxc.server:
        raise InvalidArgumentError(f"media is named by an Mxc, not {shown(mxc)}")
    return mxc


def check_dimensions(dimensions: Dimensions | None) -> tuple[int, ...]:
    """The two numbers of ``dimensions``, none of None, or an :class:`InvalidArgumentError`."""
    if dimensions is None:
        return ()
    if not isinstance(dimensions, Dimensions):
        raise InvalidArgumentError(f"a thumbnail has Dimensions, not {shown(dimensions)}")
    return dimensions


def split_user(user: UserId) -> tuple[ServerName, str]:
    """The server and the localpart of a user id."""
    localpart, colon, server = user.partition(":") if isinstance(user, str) else ("", "", "")
    if localpart[:1] != "@" or not colon:
        raise InvalidArgumentError(f"not a user id: {shown(user)}")
    return ServerName(server), localpart[1:]
