"""The commits that the log still holds: for subscribers who were away, and for repair.

A checkpoint keeps the logs of the generation before it, so what was committed since then can be
told; what is older may be gone. The end of a file that a recovery cut has no commit that the one
before it leads to, or the next file begins with the same sequence: it is no part of this history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduitstore.errors import CorruptedError, LaggedError
from conduitstore.kv import Event, Insert, Remove

from . import names
from .files import Directory
from .format import HEADER_BYTES, Header, decode_header, frames, seed_of
from .logfile import KIND
from .replay import commit_of, operations

Commit = tuple[int, list[Any]]
"""Sequence and operations."""


def commits_since(directory: Directory, store_id: bytes, since: int, upto: int) -> list[Commit]:
    """Every commit behind ``since`` and not behind ``upto``.

    Raises:
        LaggedError: not all of them are in the log.
    """
    told: list[Commit] = []
    start = _start(directory, store_id, since)
    for commit in commits_behind(directory, store_id, since, start=start):
        if commit[0] > upto:
            break
        told.append(commit)
    # Behind a recovery that lost something the sequence goes on very far above the old one.
    if len(told) != upto - since:
        raise LaggedError(None, since)
    return told


def commits_behind(
    directory: Directory, store_id: bytes, sequence: int, *, start: int
) -> Iterator[Commit]:
    """Every commit that leads on from ``sequence``, in the logs from the one numbered ``start`` on.

    Raises:
        CorruptedError: a frame verifies and is no commit, or a file is another store's.
    """
    for number, name in names.of_kind(names.LOG, directory.names()):
        if number < start or not (data := _read(directory, name)):
            continue
        seed = seed_of(data, name, Header(KIND, store_id, number, sequence + 1))
        for frame in frames(data, seed):
            found, _, _, ops = commit_of(name, frame.offset, frame)
            if found == sequence + 1:
                sequence = found
                yield found, ops


def _start(directory: Directory, store_id: bytes, since: int) -> int:
    """The number of the log that the commit behind ``since`` is in, if any is."""
    start = 0
    for number, name in names.of_kind(names.LOG, directory.names()):
        try:
            header = decode_header(_read(directory, name, HEADER_BYTES), name, KIND)
        except CorruptedError:
            continue
        if header.store_id == store_id and header.first_sequence <= since + 1:
            start = number
    return start


def _read(directory: Directory, name: str, size: int | None = None) -> bytes:
    """The first bytes of a file, or all; none where a checkpoint needs it no more."""
    try:
        file = directory.open(name)
    except FileNotFoundError:
        return b""
    data = file.read_at(0, file.size() if size is None else size)
    file.close()
    return data


def events_of(ops: list[Any], tree_id: int) -> list[Event]:
    """What a commit did to one tree."""
    return [
        Remove(key) if value is None else Insert(key, value)
        for tree, key, value in operations(ops)
        if tree == tree_id and type(key) is bytes
    ]
