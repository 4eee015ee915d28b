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
from typing import Literal, NamedTuple, Protocol, Self, TypeVar, get_args

from .errors import InvalidArgumentError, shown
from .operations import Operations

KEY_BYTES_MAX = 2_048
VALUE_BYTES_MAX = 64 * 1024 * 1024
TREE_NAME_BYTES_MAX = 255
IDS_MAX = 1 << 63
"""No id reaches this: they fit a signed 64-bit integer."""
DEFAULT_TREE = "__default__"
"""The tree that the store itself stands for, as in sled; it always exists."""

T = TypeVar("T")
Durability = Literal["interval", "commit", "none"]
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
        self.writes.append((name_of(tree), check_key(key), check_value(value)))
        return self

    def remove(self, tree: Tree | str, key: bytes) -> Self:
        """Delete ``key``; an absent key is fine."""
        self.writes.append((name_of(tree), check_key(key), None))
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
    """

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait up to ``timeout`` seconds (None: for ever); None on timeout or when closed."""

    def on_ready(self, wake: Callable[[], None]) -> None:
        """Have ``wake()`` called after events were queued.

        It runs in the committing thread: it must not block, raise or touch the store.
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
        """Entries with ``lo <= key < hi``; ``limit`` counts items from both ends together."""

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
        """Set ``key``; gives the value it had."""

    def remove(self, key: bytes) -> bytes | None:
        """Delete ``key``; gives the value it had."""

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

    def watch_prefix(self, prefix: bytes, *, capacity: int = 65_536) -> Subscriber:
        """Events of commits from now on; ``capacity`` bounds the events that wait to be read."""


class Keyspace(Tree, Protocol):
    """Anything that opens trees: a store, a transaction or a snapshot; also its default tree."""

    def open_tree(self, name: str) -> Tree:
        """The tree of that name: created for writers, empty where it cannot be."""

    def tree_names(self) -> list[str]:
        """Every tree there is, sorted."""

    def current_count(self) -> int:
        """The newest visible count: everything at or below it can be seen."""

    def transaction(
        self, fn: Callable[[Transaction], T], *, durability: Durability | None = None
    ) -> T:
        """Run ``fn(tx)``; all its writes are one commit, or none when it raises.

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


# Checks every engine makes before it does anything --------------------------------------------


def check_key(key: bytes) -> bytes:
    """``key`` itself, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if type(key) is not bytes:
        raise InvalidArgumentError(f"a key must be bytes, not {type(key).__name__}")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise InvalidArgumentError(
            f"a key must have 1 to {KEY_BYTES_MAX} bytes, this one has {len(key)}"
        )
    return key


def check_value(value: bytes) -> bytes:
    """``value`` itself, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if type(value) is not bytes:
        raise InvalidArgumentError(f"a value must be bytes, not {type(value).__name__}")
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidArgumentError(
            f"a value must have at most {VALUE_BYTES_MAX} bytes, this one has {len(value)}"
        )
    return value


def check_bound(bound: bytes | None) -> bytes | None:
    """A range bound: bytes of any length, or None for an open end."""
    if bound is not None and type(bound) is not bytes:
        raise InvalidArgumentError(f"a bound must be bytes or None, not {type(bound).__name__}")
    return bound


def check_limit(limit: int | None) -> int | None:
    """A limit on items: zero or more, or None for no limit."""
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidArgumentError(
            f"a limit must be an int of 0 or more, or None, not {shown(limit)}"
        )
    return limit


def check_durability(durability: Durability | None) -> Durability | None:
    """One of the three durabilities, or None for the store's own."""
    if durability is not None and durability not in get_args(Durability):
        raise InvalidArgumentError(
            f"durability must be one of {', '.join(get_args(Durability))}, not {durability!r}"
        )
    return durability


def check_tree_name(name: str) -> str:
    """A usable tree name, or an :class:`InvalidArgumentError` that says what is wrong with it."""
    if not isinstance(name, str):
        raise InvalidArgumentError(f"a tree name must be str, not {type(name).__name__}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"a tree name must be valid Unicode: {error}") from error
    if not 0 < len(encoded) <= TREE_NAME_BYTES_MAX or b"\0" in encoded:
        raise InvalidArgumentError(
            f"a tree name must have 1 to {TREE_NAME_BYTES_MAX} bytes and no NUL: {name!r}"
        )
    return name


def name_of(tree: Tree | str) -> str:
    """The name of a tree given by handle or by name."""
    return check_tree_name(tree if isinstance(tree, str) else tree.name)


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above every key that begins with ``prefix``; None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
