"""The names of a store's files, built and parsed in this one place.

    ABOUT.txt                  what this directory is, for whoever finds it
    LOCK                       held by the one process that may write
    manifest-00000001          the index: which leaf of which tree lies where
    log-00000001               commits since a checkpoint
    segment-00000001           leaves and blobs
    manifest-00000001.new      being written; deleted by the next open
    log-00000001.damaged       kept aside by a recovery that lost something; nobody reads it

Numbers are hexadecimal, rise over the life of a store and are never used twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LOCK = "LOCK"
ABOUT = "ABOUT.txt"
ABOUT_TEXT = """\
This directory is a conduitstore database. Please add, change and remove nothing in here.

  manifest-*   the index: which leaf of which tree lies where (the highest number counts)
  log-*        the commits since the last checkpoints, in order
  segment-*    the leaves: sorted runs of keys and values, compressed; and big values
  LOCK         held by the process that has the store open for writing
  *.damaged    kept aside by a recovery that could not save all of it; yours to delete

Copy it only while no process has it open.
"""

MANIFEST, LOG, SEGMENT = "manifest", "log", "segment"
NEW = ".new"
DAMAGED = ".damaged"
_NUMBERED = re.compile(rf"({MANIFEST}|{LOG}|{SEGMENT})-([0-9a-f]{{8,16}})")


def numbered(kind: str, number: int) -> str:
    """The file name of a kind and number."""
    return f"{kind}-{number:08x}"


def parse(name: str) -> tuple[str, int] | None:
    """Kind and number of a file name; None when it is not a published, numbered file of ours."""
    match = _NUMBERED.fullmatch(name)
    if match is None or numbered(match[1], int(match[2], 16)) != name:
        return None
    return match[1], int(match[2], 16)


def of_kind(kind: str, found: Iterable[str]) -> list[tuple[int, str]]:
    """Number and name of each published file of a kind among ``found``, in order."""
    parsed = ((parse(name) or ("", 0), name) for name in found)
    return sorted((number, name) for (one, number), name in parsed if one == kind)


def is_leftover(name: str) -> bool:
    """Whether a crash left this name behind while a file was being written."""
    return name.endswith(NEW) and parse(name.removesuffix(NEW)) is not None


def is_set_aside(name: str) -> bool:
    """Whether a recovery kept this file for people to look at; the store does without it."""
    return name.endswith(DAMAGED) and parse(name.removesuffix(DAMAGED)) is not None


def is_ours(name: str) -> bool:
    """Whether a store has files of this name."""
    return (
        name in (LOCK, ABOUT) or parse(name) is not None or is_leftover(name) or is_set_aside(name)
    )
