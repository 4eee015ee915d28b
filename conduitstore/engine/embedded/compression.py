"""zstd for what lies in frames.

Each thread keeps one decompressor: making one costs more than reading a leaf with it, and it is
not to be shared.
"""

from __future__ import annotations

import threading

import zstandard


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_mine = _PerThread()


def compressed(payload: bytes, compressor: zstandard.ZstdCompressor | None) -> tuple[bytes, bool]:
    """The shorter of ``payload`` and what it compresses to; whether that is the latter."""
    packed = payload if compressor is None else compressor.compress(payload)
    return (packed, True) if len(packed) < len(payload) else (payload, False)


def decompressed(payload: bytes, sizes: range) -> bytes:
    """The opposite.

    Raises:
        ValueError: it does not declare one of these sizes: nothing was unpacked.
        zstandard.ZstdError: the bytes are none of zstd's.
    """
    if zstandard.frame_content_size(payload) not in sizes:
        raise ValueError("compressed bytes do not declare a sane size")
    return _mine.decompressor.decompress(payload)
