"""What every engine's trees share: the wide surface of ``kv.Tree`` derived from a few primitives.

- :class:`ReadSurface` needs ``get`` and ``range``.
- :class:`WriteSurface` (the tree of a transaction) needs ``insert``, ``remove`` and ``clear`` too.
- :class:`LiveSurface` (the tree of an open store) makes each write a transaction of its own.
- :class:`FrozenSurface` (the tree of a snapshot) refuses writes.

An engine overrides what it can do faster; the conformance suite holds it to the same answers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import (
    Bounds,
    CompareAndSwapFailure,
    Database,
    Item,
    Items,
    MergeOperator,
    Tree,
    UpdateFunction,
    check_bound,
    check_key,
    check_limit,
    check_ranges,
    check_value,
    prefix_end,
)

if TYPE_CHECKING:
    from .subscriber import Subscriber

T = TypeVar("T")
U64_MODULUS = 1 << 64


class ReadSurface(ABC):
    """Reads, from ``get`` and ``range``."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def get(self, key: bytes) -> bytes | None: ...

    @abstractmethod
    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Items: ...

    def contains_key(self, key: bytes) -> bool:
        return self.get(key) is not None

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        asked, limit = check_ranges(bounds), check_limit(limit)
        return [list(self.range(lo, hi, reverse=reverse, limit=limit)) for lo, hi in asked]

    def scan_prefix(
        self,
        prefix: bytes,
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Items:
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        return self.range(lo, hi, reverse=reverse, limit=limit)

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        items = self.scan_prefix(prefix, reverse=reverse, limit=limit, start=start)
        return (key for key, _ in items)

    def first(self) -> Item | None:
        return next(self.range(limit=1), None)

    def last(self) -> Item | None:
        return next(self.range(reverse=True, limit=1), None)

    def get_lt(self, key: bytes) -> Item | None:
        return next(self.range(hi=_given(key), reverse=True, limit=1), None)

    def get_gt(self, key: bytes) -> Item | None:
        return next(self.range(lo=_given(key) + b"\0", limit=1), None)

    def __len__(self) -> int:
        return sum(1 for _ in self.keys())

    def __iter__(self) -> Iterator[Item]:
        return self.range()

    def __getitem__(self, key: object) -> NoReturn:
        # For dict(tree), which asks for the keys and then for each of them, at different moments.
        raise InvalidArgumentError(
            f"a tree takes no [{shown(key)}]: call get(key), or dict(iter(tree)) for all of it"
        )

    def __bool__(self) -> Literal[True]:
        return True  # A tree is a thing, not a collection to be tested for emptiness by accident.


class WriteSurface(ReadSurface):
    """Compound writes of a transaction's tree, from ``insert``, ``remove`` and ``clear``."""

    __slots__ = ()

    @abstractmethod
    def insert(self, key: bytes, value: bytes) -> bytes | None: ...

    @abstractmethod
    def remove(self, key: bytes) -> bytes | None: ...

    @abstractmethod
    def clear(self) -> None: ...

    @abstractmethod
    def merge_operator(self) -> MergeOperator:
        """The operator to merge with, its stored name checked."""

    def put(self, key: bytes, value: bytes | None) -> None:
        """Insert, or remove where ``value`` is None."""
        if value is None:
            self.remove(key)
        else:
            self.insert(key, value)

    def compare_and_swap(
        self, key: bytes, old: bytes | None, new: bytes | None
    ) -> CompareAndSwapFailure | None:
        for value in (old, new):
            if value is not None:
                check_value(value)
        current = self.get(key)
        if current != old:
            return CompareAndSwapFailure(current, new)
        self.put(key, new)
        return None

    def _update(self, key: bytes, fn: UpdateFunction) -> tuple[bytes | None, bytes | None]:
        old = self.get(check_key(key))
        new = fn(old)
        self.put(key, new)
        return old, new

    def update_and_fetch(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        return self._update(key, fn)[1]

    def fetch_and_update(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        return self._update(key, fn)[0]

    def increment(self, key: bytes) -> int:
        old = self.get(key)
        number = int.from_bytes(old) if old is not None and len(old) == 8 else 0
        number = (number + 1) % U64_MODULUS
        self.insert(key, number.to_bytes(8))
        return number

    def merge(self, key: bytes, operand: bytes) -> bytes | None:
        check_value(operand)
        operator = self.merge_operator()
        return self.update_and_fetch(key, lambda old: operator(key, old, operand))

    def _pop(self, item: Item | None) -> Item | None:
        if item is not None:
            self.remove(item[0])
        return item

    def pop_min(self) -> Item | None:
        return self._pop(self.first())

    def pop_max(self) -> Item | None:
        return self._pop(self.last())

    def remove_prefix(self, prefix: bytes) -> int:
        total = 0
        for key in self.keys(prefix):
            self.put(key, None)
            total += 1
        return total


class LiveSurface(ReadSurface):
    """Writes of an open store's tree: each is one transaction."""

    __slots__ = ()

    @property
    @abstractmethod
    def _store(self) -> Database:
        """The store this tree belongs to."""

    @abstractmethod
    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None: ...

    @abstractmethod
    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber: ...

    @abstractmethod
    def _commit(self, write: Callable[[Tree], T]) -> T:
        """One transaction; refused where the tree was dropped, or a transaction runs."""

    @abstractmethod
    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]: ...

    @abstractmethod
    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]: ...

    def insert(self, key: bytes, value: bytes) -> bytes | None:
        return self._commit(lambda tree: tree.insert(key, value))

    def remove(self, key: bytes) -> bytes | None:
        return self._commit(lambda tree: tree.remove(key))

    def put(self, key: bytes, value: bytes | None) -> None:
        self._commit(lambda tree: tree.put(key, value))

    def compare_and_swap(
        self, key: bytes, old: bytes | None, new: bytes | None
    ) -> CompareAndSwapFailure | None:
        return self._commit(lambda tree: tree.compare_and_swap(key, old, new))

    def update_and_fetch(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        return self._commit(lambda tree: tree.update_and_fetch(key, fn))

    def fetch_and_update(self, key: bytes, fn: UpdateFunction) -> bytes | None:
        return self._commit(lambda tree: tree.fetch_and_update(key, fn))

    def increment(self, key: bytes) -> int:
        return self._commit(lambda tree: tree.increment(key))

    def merge(self, key: bytes, operand: bytes) -> bytes | None:
        return self._commit(lambda tree: tree.merge(key, operand))

    def pop_min(self) -> Item | None:
        return self._commit(lambda tree: tree.pop_min())

    def pop_max(self) -> Item | None:
        return self._commit(lambda tree: tree.pop_max())

    def remove_prefix(self, prefix: bytes) -> int:
        return self._commit(lambda tree: tree.remove_prefix(prefix))

    def clear(self) -> None:
        self._commit(lambda tree: tree.clear())


class FrozenSurface(ReadSurface):
    """Writes of a snapshot's tree: refused."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        refuse_write()

    insert = remove = put = compare_and_swap = update_and_fetch = fetch_and_update = _refuse
    increment = merge = set_merge_operator = pop_min = pop_max = _refuse
    remove_prefix = clear = watch_prefix = _refuse


def refuse_write() -> NoReturn:
    """For whoever writes where one can only read."""
    raise InvalidArgumentError("this is read-only: write through the store or its transactions")


def _given(bound: bytes) -> bytes:
    if type(bound) is not bytes:
        check_bound(bound)
        raise InvalidArgumentError("a key or prefix must be bytes; b'' comes before every key")
    return bound


def prefix_bounds(
    prefix: bytes, start: bytes | None, *, reverse: bool
) -> tuple[bytes | None, bytes | None]:
    """The half-open range under ``prefix``, cut at ``start``, which is inclusive either way."""
    lo, hi = _given(prefix), prefix_end(prefix)
    if start is None:
        return lo, hi
    check_bound(start)
    if not reverse:
        return max(lo, start), hi
    end = start + b"\0"
    return lo, end if hi is None else min(hi, end)
