"""What a web page looked like when somebody linked to it, remembered for a while."""

from __future__ import annotations

from dataclasses import dataclass

from conduitstore.codec.records import Record, pack_record, unpack_record
from conduitstore.codec.values import EMPTY
from conduitstore.errors import CorruptedError, InvalidArgumentError, shown
from conduitstore.parts.expiry import expiry_key, take_before
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES

_URL = TREES["url_preview"].key.pack


@dataclass(frozen=True, kw_only=True)
class UrlPreview(Record):
    """A preview.

    Attributes:
        url: the page, also where it is too long for a key.
        fetched_ms: when, Unix milliseconds.
        image: its ``mxc://`` address.
    """

    url: str
    fetched_ms: int
    title: str | None = None
    description: str | None = None
    image: str | None = None
    image_type: str | None = None
    image_bytes: int | None = None
    image_width: int | None = None
    image_height: int | None = None


class Previews(Part[Near]):
    """Trees: ``url_preview``, and ``fetchedms_url`` by time."""

    _rows = TreeOf("url_preview")
    _by_time = TreeOf("fetchedms_url")

    @atomic
    def set(self, preview: UrlPreview) -> None:
        """Remember a preview instead of an older one. Source: conduwuit, set_url_preview."""
        if not isinstance(preview, UrlPreview):
            raise InvalidArgumentError(f"not a UrlPreview: {shown(preview)}")
        key, value = _URL(preview.url), pack_record(preview)
        self._forget_time(key, self._rows.insert(key, value))
        self._by_time.put(expiry_key(preview.fetched_ms, key), EMPTY)

    def get(self, url: str, *, after_ms: int = 0) -> UrlPreview | None:
        """The preview of a page, unless it was fetched before a time.

        Source: conduwuit, get_url_preview.
        """
        found = _unpack(self._rows.get(_URL(url)))
        return None if found is None or found.fetched_ms < after_ms else found

    @atomic
    def remove(self, url: str) -> bool:
        """Forget one; gives whether there was one. Source: conduwuit, remove_url_preview."""
        key = _URL(url)
        value = self._rows.remove(key)
        self._forget_time(key, value)
        return value is not None

    @atomic
    def clear(self) -> None:
        """Forget them all. Source: conduwuit, clear_url_previews."""
        self._rows.clear()
        self._by_time.clear()

    @atomic
    def forget_before(self, time_ms: int, *, limit: int | None = None) -> int:
        """Forget what was fetched before a time; gives how many. Cost: one step for each."""
        keys = take_before(self._by_time, time_ms, limit)
        for key in keys:
            self._rows.put(key, None)
        return len(keys)

    def _forget_time(self, key: bytes, value: bytes | None) -> None:
        found = _unpack(value)
        if found is not None:
            self._by_time.put(expiry_key(found.fetched_ms, key), None)


def _unpack(value: bytes | None) -> UrlPreview | None:
    """A preview that cannot be read is as good as none: the page can be fetched again."""
    try:
        return None if value is None else unpack_record("url_preview", value, UrlPreview)
    except CorruptedError:
        return None
