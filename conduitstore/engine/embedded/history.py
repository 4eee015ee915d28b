"""The commits that the log still holds, for subscribers who were away.

A checkpoint keeps the logs of the generation before it, so what was committed since then can be
told; what is older may be gone. Files of earlier processes count up to where the next one begins:
what lies behind that in them was cut by a recovery, and is no part of this history.
"""

from __future__ import annotations

from typing import Any

from conduitstore.errors import CorruptedError, LaggedError
from conduitstore.kv import Event, Insert, Remove

from . import names
from .files import Directory
from .format import decode_header, frames
from .replay import commit_of, operations
from .wal import KIND

Commits = list[tuple[int, list[Any]]]


def commits_since(directory: Directory, store_id: bytes, since: int, upto: int) -> Commits:
    """Sequence and operations of every commit behind ``since`` and not behind ``upto``.

    Raises:
        LaggedError: not all of them are in the log.
    """
    found: list[Commits] = []
    below = upto + 1
    for name in reversed(_logs(directory)):
        if below <= since + 1:
            break
        first, commits = _commits(directory, name, store_id)
        found.append([(n, ops) for n, ops in commits if since < n < below])
        below = min(below, first)
    told = [commit for commits in reversed(found) for commit in commits]
    # The length first: behind a lossy recovery the sequence goes on very far above the old one.
    is_whole = len(told) == upto - since
    if not is_whole or [sequence for sequence, _ in told] != list(range(since + 1, upto + 1)):
        raise LaggedError(None, since)
    return told


def _logs(directory: Directory) -> list[str]:
    parsed = ((names.parse(name) or ("", 0), name) for name in directory.names())
    return [name for (kind, _), name in sorted(parsed) if kind == names.LOG]


def _commits(directory: Directory, name: str, store_id: bytes) -> tuple[int, Commits]:
    """The first sequence of a file and its commits; none where it cannot be read."""
    try:
        file = directory.open(name)
        data = file.read_at(0, file.size())
        file.close()
        header = decode_header(data, name, KIND)
    except (FileNotFoundError, CorruptedError):  # A checkpoint needs it no more; or it is damaged.
        return 1 << 64, []
    if header.store_id != store_id:
        return 1 << 64, []
    commits = (commit_of(name, frame.offset, frame) for frame in frames(data, header.seed))
    return header.first_sequence, [(sequence, ops) for sequence, _, _, ops in commits]


def events_of(ops: list[Any], tree_id: int) -> list[Event]:
    """What a commit did to one tree."""
    return [
        Remove(key) if value is None else Insert(key, value)
        for tree, key, value in operations(ops)
        if tree == tree_id and type(key) is bytes
    ]
