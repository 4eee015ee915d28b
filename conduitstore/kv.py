"""The waist: ordered byte keys in named trees, as protocols every engine fulfils.

Everything above this page speaks bytes through it; everything below implements it. The names are
sled's in Python's habits: absence is ``None``, a lost compare-and-swap is a value.

Rules that hold on every engine:

- Keys are 1 to 2,048 bytes, values 0 to 64 MiB, tree names 1 to 255 bytes of UTF-8 without NUL.
- Ranges are half-open, ``lo >= hi`` is empty, and bounds may be empty or over-long.
- An iterator walks the state at the moment it was made, whatever is written meanwhile.
- A commit that changes anything advances ``sequence`` by exactly one. Removing an absent key
  changes nothing; rewriting an equal value is a change and an event.
- The global count starts at 0, the first one drawn is 1, and a rolled-back draw is skipped.
- Any object may be used from any thread; inside a transaction only its own handles may be used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol, Self, TypeVar

from .checks import IDS_MAX as IDS_MAX
from .checks import KEY_BYTES_MAX as KEY_BYTES_MAX
from .checks import TREE_NAME_BYTES_MAX as TREE_NAME_BYTES_MAX
from .checks import VALUE_BYTES_MAX as VALUE_BYTES_MAX
from .checks import Bounds as Bounds
from .checks import Durability as Durability
from .checks import check_bound as check_bound
from .checks import check_durability as check_durability
from .checks import check_key as check_key
from .checks import check_limit as check_limit
from .checks import check_ranges as check_ranges
from .checks import check_tree_name as check_tree_name
from .checks import check_value as check_value
from .checks import prefix_end as prefix_end
from .operations import Operations

DEFAULT_TREE = "__default__"
"""The tree that the store itself stands for, as in sled; it always exists."""

T = TypeVar("T")
Item = tuple[bytes, bytes]
UpdateFunction = Callable[[bytes | None], bytes | None]
"""Old value (None: absent) to new value (None: delete)."""
MergeOperator = Callable[[bytes, bytes | None, bytes], bytes | None]
"""Key, old value (None: absent), operand; gives the new value (None: delete)."""


class Insert(NamedTuple):
    """A key got this value."""

    key: bytes
    value: bytes


class Remove(NamedTuple):
    """A key that was there is gone."""

    key: bytes


Event = Insert | Remove


@dataclass(frozen=True, slots=True)
class CompareAndSwapFailure:
    """What a lost compare-and-swap found, and what it would have written."""

    current: bytes | None
    proposed: bytes | None


class Batch:
    """Writes across trees that are applied all together or not at all.

    A later write to the same key wins. A tree is named by its handle or its name, and is created
    when it does not exist.
    """

    __slots__ = ("writes",)

    def __init__(self) -> None:
        self.writes: list[tuple[str, bytes, bytes | None]] = []

    def insert(self, tree: Tree | str, key: bytes, value: bytes) -> Self:
        """Set ``key`` to ``value``; gives the batch back, so that calls chain."""
        if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
            check_key(key)
        if type(value) is not bytes or len(value) > VALUE_BYTES_MAX:
            check_value(value)
        self.writes.append((_checked(tree) if type(tree) is str else name_of(tree), key, value))
        return self

    def remove(self, tree: Tree | str, key: bytes) -> Self:
        """Delete ``key``; an absent key is fine."""
        if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
            check_key(key)
        self.writes.append((_checked(tree) if type(tree) is str else name_of(tree), key, None))
        return self

    def __len__(self) -> int:
        return len(self.writes)


class Items(Iterator[Item], Protocol):
    """A lazy, double-ended, stable iterator of (key, value)."""

    def next_back(self) -> Item | None:
        """Take one item from the far end; None once the two ends have met."""

    def __reversed__(self) -> Items:
        """What is left, from the far end; this iterator is used up by it."""


class Subscriber(Protocol):
    """Events of one tree under a prefix: whole commits, in commit order.

    The queue is bounded and writers never wait for it: when it overflows, what it held is dropped
    and the next read raises :class:`LaggedError` once; after that it goes on with later commits.
    Unless they are told of when they are durable, a commit's events are queued before the next
    transaction begins: inside one, what is queued is all that happened before.
    """

    @property
    def sequence(self) -> int:
        """Every event up to this commit has been taken: where to go on after a restart."""

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait up to ``timeout`` seconds (None: for ever); None on timeout or when closed."""

    def on_ready(self, wake: Callable[[], None]) -> None:
        """Have ``wake()`` called after events were queued.

        It runs in the committing or syncing thread: it must not block, raise or touch the store.
        """

    def close(self) -> None:
        """Stop; queued events are still delivered, then iteration ends."""

    def __iter__(self) -> Iterator[Event]: ...
    def __next__(self) -> Event: ...
    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __anext__(self) -> Event: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Tree(Protocol):
    """One ordered map. Each write is one atomic commit, or part of the transaction it is opened in.

    A tree of a snapshot is read-only: its writes raise :class:`InvalidArgumentError`.
    """

    @property
    def name(self) -> str:
        """The tree's name, ``keytype_valuetype`` by convention."""

    # Reading ------------------------------------------------------------------------------------
    def get(self, key: bytes) -> bytes | None: ...
    def contains_key(self, key: bytes) -> bool: ...
    def __contains__(self, key: bytes) -> bool: ...
    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of ``keys``, in their order, from one state."""

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Items:
        """Entries with ``lo <= key < hi``; with a ``limit``, only so many, the first ones."""

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        """What :meth:`range` gives for each pair ``(lo, hi)``, in their order, from one state.

        ``limit`` is of each of them. It is all read when the call returns, so it is for many short
        ranges: those of a user's rooms, say. Cost: on a database server one round trip for as many
        as make a page; elsewhere less than a call for each.
        """

    def scan_prefix(
        self,
        prefix: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Items:
        """Entries whose key begins with ``prefix``; ``start`` is inclusive in either direction."""

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        """Like :meth:`scan_prefix`, keys only."""

    def first(self) -> Item | None: ...
    def last(self) -> Item | None: ...
    def get_lt(self, key: bytes) -> Item | None:
        """The entry with the greatest key below ``key``."""

    def get_gt(self, key: bytes) -> Item | None:
        """The entry with the smallest key above ``key``."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Item]: ...
    def __bool__(self) -> Literal[True]: ...

    # Writing ------------------------------------------------------------------------------------
    def insert(self, key: bytes, value: bytes) -> bytes | None:
        """Set ``key``; gives the value it had.

        Raises:
            CorruptedError: that value cannot be read, here and in ``remove``; nothing was changed.
                A batch, ``remove_prefix`` and ``clear`` do not ask for it.
        """

    def remove(self, key: bytes) -> bytes | None:
        """Delete ``key``; gives the value it had."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set ``key``, or delete it where ``value`` is None, without asking what was there.

        In a transaction on a database server that question is a round trip.
        """

    def compare_and_swap(
        self, key: bytes, old: bytes | None, new: bytes | None
    ) -> CompareAndSwapFailure | None:
        """Write ``new`` only where the value is ``old``; None stands for absent in both."""

    def update_and_fetch(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        """Replace the value by ``fn(value)``; gives the new one."""

    def fetch_and_update(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        """Replace the value by ``fn(value)``; gives the old one."""

    def increment(self, key: bytes) -> int:
        """Add one to a u64 (big-endian, absent or of another width: 0); gives the new number."""

    def merge(self, key: bytes, operand: bytes) -> bytes | None:
        """Let the merge operator combine ``operand`` with the value; gives the new value."""

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        """Choose how :meth:`merge` combines.

        The name (default: the function's qualified name) is stored at the first merge; a tree
        once merged under another name raises :class:`InvalidArgumentError` at ``merge``.
        """

    def pop_min(self) -> Item | None: ...
    def pop_max(self) -> Item | None: ...
    def remove_prefix(self, prefix: bytes) -> int:
        """Delete every key under ``prefix``; gives how many there were."""

    def clear(self) -> None:
        """Delete every key, atomically."""

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        """Events of commits from now on, or of every commit behind the sequence ``since``.

        Args:
            prefix: of the keys; ``b""`` for all.
            capacity: bounds the events from now on that wait to be read.
            since: what a subscriber's ``sequence`` was, perhaps before a restart. It must have
                been durable: of commits that a power loss takes back nobody is told.
            only_durable: hold each commit's events back until it survives power loss.

        Raises:
            LaggedError: the commits behind ``since`` are no longer in the log, or ``since`` is from
                before a restore, or before a recovery that lost something: of another history.
        """


class Keyspace(Tree, Protocol):
    """Anything that opens trees: a store, a transaction or a snapshot; also its default tree."""

    def open_tree(self, name: str) -> Tree:
        """The tree of that name: created for writers, empty where it cannot be."""

    def tree_names(self) -> list[str]:
        """Every tree there is, sorted."""

    def current_count(self) -> int:
        """The newest visible count: everything at or below it can be seen."""

    def transaction(
        self,
        fn: Callable[[Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        """Run ``fn(tx)``; all its writes are one commit, or none when it raises.

        A read-only one runs on a snapshot, waits for no writer, holds none up, and refuses writes.

        Inside a transaction a nested one joins: an exception that leaves it undoes its own writes
        only. A distributed engine may run ``fn`` again, so it should touch nothing but ``tx``.
        """


class Transaction(Keyspace, Protocol):
    """What ``fn`` gets: every tree, with the transaction's own writes visible in all reads."""

    def next_count(self) -> int:
        """Draw the next global count; it becomes visible with the commit."""

    def generate_id(self) -> int:
        """A number never given out before; not returned when the transaction fails."""

    def apply_batch(self, batch: Batch) -> None: ...


class Snapshot(Keyspace, Protocol):
    """Every tree and the count at one instant; read-only. Close it, or use ``with``."""

    @property
    def sequence(self) -> int:
        """The last commit it shows."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


class Database(Keyspace, Operations, Protocol):
    """An open store."""

    @property
    def sequence(self) -> int:
        """The newest visible commit."""

    @property
    def durable_sequence(self) -> int:
        """Every commit up to this one survives power loss."""

    @property
    def was_recovered(self) -> bool:
        """Whether the last holder went without closing, so that the log had to be replayed."""

    def drop_tree(self, name: str) -> bool:
        """Delete a tree and all it holds; False when there was none. Old handles then raise."""

    def apply_batch(self, batch: Batch, *, durability: Durability | None = None) -> None: ...
    def generate_id(self) -> int: ...
    def reserve_ids(self, total: int) -> range:
        """``total`` consecutive numbers never given out before, all below :data:`IDS_MAX`."""

    def snapshot(self) -> Snapshot: ...
    def flush(self) -> int:
        """Put everything committed so far on the platter; gives the durable sequence."""

    async def flush_async(self) -> int: ...
    async def wait_durable(self, sequence: int) -> None:
        """Return once ``sequence`` is durable; starts a sync itself only if no flusher runs."""

    def checksum(self) -> int:
        """A CRC-32 over every tree, key and value in order: equal on engines with equal content."""

    def refresh(self) -> int:
        """Move a store that is open for reading to the newest state; gives its sequence.

        Trees follow, snapshots and iterators stay as they are. A store that writes always shows
        the newest state.
        """

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def name_of(tree: Tree | str) -> str:
    """The name of a tree given by handle or by name."""
    if type(tree) is str:
        return _checked(tree)
    return check_tree_name(tree if isinstance(tree, str) else tree.name)


_checked = lru_cache(1_024)(check_tree_name)
"""Of names that batches give again and again."""
