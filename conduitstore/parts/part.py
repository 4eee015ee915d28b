"""What every part stands on: trees opened by need, operations that are one commit.

- A part works over a keyspace: the store, a snapshot or a transaction. It keeps nothing but its
  tree handles, so making one costs next to nothing.
- What it needs of other parts it asks of ``near``, a holder of all parts of the same keyspace that
  it sees through a narrow protocol; the constructor says how to make one. Parts never import each
  other. Each part has a holder of its own: one that knew its parts while they knew it would keep a
  finished transaction in memory until the garbage collector came by.
- An :func:`atomic` operation is one commit on the store. Inside a transaction it joins, and an
  exception takes back that operation only. A snapshot refuses it.
- A :func:`consistent` read looks at keys that belong together, so on the store it reads a snapshot.
- Both, and :func:`explained`, turn an error of Python's own into one that names the argument of the
  wrong type, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from conduitstore.kv import Database, Durability, Keyspace, Tree
from conduitstore.parts.arguments import SLIPS, blame_argument
from conduitstore.schema import TREES
from conduitstore.types import Count

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Counter(Protocol):
    """Draws since tokens."""

    def draw(self) -> Count:
        """The next count, inside a transaction."""


class Near(Protocol):
    """Where a part finds the others: the holder of all parts of one keyspace."""

    @property
    def globals(self) -> Counter: ...


NearT_co = TypeVar("NearT_co", bound=Near, covariant=True)


class once(Generic[T]):  # noqa: N801 - used like property
    """An attribute made when it is first read.

    ``functools.cached_property`` without the lock that in Python 3.11 all instances share.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> T:
        value = instance.__dict__[self._name] = self._make(instance)
        return value


class Part(Generic[NearT_co]):
    """The parts' base class.

    Args:
        near: makes the holder of the other parts of a keyspace.
    """

    def __init__(self, keyspace: Keyspace, near: Callable[[Keyspace], NearT_co]) -> None:
        self.keyspace = keyspace
        self._make_near = near

    @once
    def _near(self) -> NearT_co:
        return self._make_near(self.keyspace)

    @once
    def _is_live(self) -> bool:
        """Whether what it reads may change from one read to the next."""
        return hasattr(self.keyspace, "snapshot")

    def bound_to(self, keyspace: Keyspace) -> Self:
        """The same part over another keyspace; itself where that is the one it has."""
        if keyspace is self.keyspace:
            return self
        return type(self)(keyspace, self._make_near)


AnyPart = TypeVar("AnyPart", bound="Part[Near]")
Method = Callable[Concatenate[AnyPart, P], R]


class TreeOf:
    """A part's tree, named by the schema: opened at first use and then a plain attribute."""

    def __init__(self, name: str) -> None:
        self.name = TREES[name].name

    def __set_name__(self, owner: type, attribute: str) -> None:
        self._attribute = attribute

    def __get__(self, part: Part[Near], owner: type) -> Tree:
        tree = part.keyspace.open_tree(self.name)
        part.__dict__[self._attribute] = tree
        return tree


@overload
def atomic(method: Method[AnyPart, P, R], /) -> Method[AnyPart, P, R]: ...
@overload
def atomic(
    *, durability: Durability
) -> Callable[[Method[AnyPart, P, R]], Method[AnyPart, P, R]]: ...
def atomic(
    method: Method[AnyPart, P, R] | None = None, /, *, durability: Durability | None = None
) -> Method[AnyPart, P, R] | Callable[[Method[AnyPart, P, R]], Method[AnyPart, P, R]]:
    """Run a method as one commit, on the same part bound to a transaction.

    ``durability="commit"`` has that commit on the platter before the call returns; inside a
    transaction, before that transaction's call returns.
    """

    def decorate(method: Method[AnyPart, P, R]) -> Method[AnyPart, P, R]:
        @wraps(method)
        def run(part: AnyPart, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return part.keyspace.transaction(
                    lambda tx: method(part.bound_to(tx), *args, **kwargs), durability=durability
                )
            except SLIPS:
                blame_argument(method, part, *args, **kwargs)
                raise

        return run

    return decorate if method is None else decorate(method)


def consistent(method: Method[AnyPart, P, R]) -> Method[AnyPart, P, R]:
    """Run a reading method on one state of all trees."""

    @wraps(method)
    def run(part: AnyPart, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if not part._is_live:  # noqa: SLF001 - its own module
                return method(part, *args, **kwargs)
            with cast("Database", part.keyspace).snapshot() as view:
                return method(part.bound_to(view), *args, **kwargs)
        except SLIPS:
            blame_argument(method, part, *args, **kwargs)
            raise

    return run


def explained(method: Method[AnyPart, P, R]) -> Method[AnyPart, P, R]:
    """Have an argument of the wrong type named, as the other two do, and nothing else.

    For what is one step by itself and takes lists or records: text and numbers are checked where
    they become part of a key.
    """

    @wraps(method)
    def run(part: AnyPart, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(part, *args, **kwargs)
        except SLIPS:
            blame_argument(method, part, *args, **kwargs)
            raise

    return run
