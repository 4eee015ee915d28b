"""CRC-32, by whichever library computes it fastest here: the numbers are the same."""

from __future__ import annotations

try:
    from zlib_ng.zlib_ng import crc32
except ImportError:  # The extra ``fast`` is not installed, or not made for this machine.
    from zlib import crc32

__all__ = ["crc32"]
