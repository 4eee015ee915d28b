"""On which file systems a file may be written through memory.

Where a byte lies that was written once, these write it again: no space is missing then. Others
look for a new place, and where there is none the system has no way of saying so to somebody who
writes through memory: it ends the process. On those, and where we cannot tell, nothing is mapped.
"""

from __future__ import annotations

import os
from pathlib import Path

WRITE_IN_PLACE = frozenset({"ext4", "xfs", "tmpfs"})
MOUNTS = Path("/proc/self/mountinfo")


def writes_in_place(path: str) -> bool:
    """Whether the file system of that directory does."""
    return kind_of(path) in WRITE_IN_PLACE


def kind_of(path: str) -> str | None:
    """The kind of a path's file system as the kernel names it; None where it tells us nothing."""
    try:
        device = os.stat(path).st_dev  # noqa: PTH116 - a number out of a string, no Path needed
        mounts = MOUNTS.read_text(errors="replace")
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        # Like 36 35 98:0 /root /mounted/at options [optional fields] - kind source options
        mount, _, described = line.partition(" - ")
        if mount.split(" ", 3)[2:3] == [number]:
            return described.split(" ", 1)[0]
    return None
