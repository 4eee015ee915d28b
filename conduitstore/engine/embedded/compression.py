"""zstd for what lies in frames.

Each thread keeps one decompressor: making one costs more than reading a leaf with it, and it is
not to be shared.

What unpacks to more than a mebibyte and more than 32 times its length is a bomb, and stays packed;
so nothing is written that way.
"""

from __future__ import annotations

import threading

import zstandard

SIZE_ALWAYS_SANE = 1 << 20
RATIO_MAX = 32


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_mine = _PerThread()


def compressed(payload: bytes, compressor: zstandard.ZstdCompressor | None) -> tuple[bytes, bool]:
    """The shorter of ``payload`` and what it compresses to; whether that is the latter."""
    packed = payload if compressor is None else compressor.compress(payload)
    is_shorter = len(packed) < len(payload) <= size_max(packed)
    return (packed, True) if is_shorter else (payload, False)


def size_max(payload: bytes) -> int:
    """How large ``payload`` may become."""
    return max(SIZE_ALWAYS_SANE, RATIO_MAX * len(payload))


def decompressed(payload: bytes, size_bytes: int | None = None) -> bytes:
    """The opposite; ``size_bytes`` is how much it must become, where that is known.

    Raises:
        ValueError: it declares no size, another one or an insane one: nothing was unpacked.
        zstandard.ZstdError: the bytes are none of zstd's.
    """
    declared = zstandard.frame_content_size(payload)
    if not 0 <= declared <= size_max(payload) or declared != (size_bytes or declared):
        raise ValueError("compressed bytes do not declare a sane size")
    return _mine.decompressor.decompress(payload)
