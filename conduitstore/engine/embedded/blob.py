"""Blobs: big values, in frames of their own beside the leaves.

- A leaf keeps a reference where a blob's value would be. The bytes are read when they are asked
  for, and rewritten only when the value is: a leaf that changes takes its references along.
- Like a leaf, a blob without a location is dirty and in memory; with one it may be evicted. It is
  shared by all copies of its leaf, so it is written once however often the leaf is copied.
- ``BlobEntries`` are a leaf's entries where some are blobs. Reading by key gives plain bytes;
  walking the values, copying and merging see what is stored. Leaves without blobs have a plain
  dict, whose readers pay nothing for any of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from conduitstore.kv import VALUE_BYTES_MAX

from .compression import compressed, decompressed
from .format import COMPRESSED
from .location import BlobLocation

if TYPE_CHECKING:
    import zstandard

    from .cache import Cache

BLOB_REFERENCE_BYTES = 24
"""What a blob counts for in the size of its leaf."""
BLOB_OVERHEAD_BYTES = 200
"""What a blob costs in memory beside the bytes of its value."""


class Blob:
    """See the module's rules."""

    __slots__ = ("_cache", "evicted_at", "location", "size_bytes", "touched", "value")

    def __init__(
        self,
        cache: Cache,
        value: bytes | None,
        *,
        size_bytes: int,
        location: BlobLocation | None = None,
    ) -> None:
        self._cache = cache
        self.value = value
        self.size_bytes = size_bytes
        self.location = location
        self.touched = False
        self.evicted_at = 0

    def __len__(self) -> int:
        """What it takes in a leaf."""
        return BLOB_REFERENCE_BYTES

    @property
    def memory_bytes(self) -> int:
        """What it takes while it is loaded."""
        return self.size_bytes + BLOB_OVERHEAD_BYTES

    def read(self) -> bytes:
        """The value, from its segment when it is not in memory.

        Raises:
            CorruptedError: the frame does not verify; names file and offset.
        """
        value = self.value
        if value is None:
            return self._cache.blob_value(self)
        self.touched = True
        return value

    def load(self) -> bytes:
        """The value as its segment has it."""
        location = self.location
        assert location is not None
        return location.segment.load_blob(location.offset, location.frame_bytes, self.size_bytes)

    def was_asked(self) -> bool:
        """Whether anybody read it since this was last called."""
        was, self.touched = self.touched, False
        return was

    def evict(self) -> None:
        """Leave memory."""
        self.value = None


class BlobEntries(dict[bytes, bytes]):
    """Entries of which some are blobs."""

    __slots__ = ()

    def get(self, key: bytes, default: Any = None) -> Any:
        value = dict.get(self, key, default)
        return value.read() if type(value) is Blob else value

    def __getitem__(self, key: bytes) -> bytes:
        value: Any = dict.__getitem__(self, key)
        return value.read() if type(value) is Blob else value

    def copy(self) -> BlobEntries:
        return BlobEntries(self)


def entries_of(stored: dict[bytes, Any]) -> dict[bytes, bytes]:
    """``stored``, in whichever dict its values need."""
    return BlobEntries(stored) if Blob in map(type, stored.values()) else stored


def blobs_of(entries: dict[bytes, bytes]) -> Iterator[Blob]:
    """The blobs among a leaf's entries."""
    if type(entries) is BlobEntries:
        stored: Iterable[Any] = entries.values()
        yield from (value for value in stored if type(value) is Blob)


def encode_blob(value: bytes, compressor: zstandard.ZstdCompressor | None) -> tuple[bytes, int]:
    """Payload and flags of the blob's frame."""
    payload, is_compressed = compressed(value, compressor)
    return payload, COMPRESSED if is_compressed else 0


def decode_blob(payload: bytes, flags: int, size_bytes: int) -> bytes:
    """The value.

    Raises:
        ValueError: the bytes are none of ours, or another blob's.
    """
    if size_bytes > VALUE_BYTES_MAX:
        raise ValueError("no value is so long")
    if flags & COMPRESSED:
        payload = decompressed(payload, size_bytes)
    if len(payload) != size_bytes:
        raise ValueError("a blob has another size than its leaf says")
    return payload
