"""A tree of the open store: reads of the newest state, each write a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar, cast

from conduitstore import kv
from conduitstore.engine.rows import Cursor
from conduitstore.engine.subscriber import Subscriber
from conduitstore.engine.surface import LiveSurface, prefix_bounds
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import (
    Bounds,
    Database,
    Item,
    MergeOperator,
    Tree,
    check_bound,
    check_key,
    check_limit,
    check_ranges,
)

from . import sql
from .connections import Row, Statement
from .faults import DROPPED, MissingTableError
from .instant import Ends, Instant, Page, Span, Walk
from .ranges import Ranges

if TYPE_CHECKING:
    from .database import Store

T = TypeVar("T")


class LiveTree(LiveSurface):
    """See :class:`conduitstore.kv.Tree`.

    Each read makes sure that the tree is still there: another process may have dropped it.
    """

    name = ""

    def __init__(self, db: Store, name: str, number: int | None) -> None:
        self._database = db
        self.name = name
        self._number = number

    @property
    def _db(self) -> Store:
        return self._database

    @property
    def _store(self) -> Database:
        return cast("Database", self._db)

    def number(self) -> int | None:
        """The tree's number; None where it does not exist, in a store that is open for reading."""
        self._db.check()
        if self._number is None:
            return self._db.find_tree(self.name)
        if self._db.catalog.numbers.get(self.name) != self._number:
            raise InvalidArgumentError(DROPPED)
        return self._number

    def _gone(self) -> InvalidArgumentError:
        self._db.forget_catalog()
        return InvalidArgumentError(DROPPED)

    def _ask(self, number: int, statement: Statement) -> list[Row]:
        """One statement beside the question whether the tree is still there."""
        try:
            there, found = self._db.pool.run([(sql.table(number).is_there, ()), statement])
        except MissingTableError:
            raise self._gone() from None
        if not there[0][0]:
            raise self._gone()
        return found

    def _ask_for(self, query: bytes, key: bytes) -> Row:
        try:
            row = self._db.pool.rows(query, [key])[0]
        except MissingTableError:
            raise self._gone() from None
        if not row[1]:
            raise self._gone()
        return row

    # Reading ------------------------------------------------------------------------------------
    def get(self, key: bytes) -> bytes | None:
        number = self.number()
        check_key(key)
        if number is None:
            return None
        value: bytes | None = self._ask_for(sql.table(number).get_live, key)[0]
        return value

    def contains_key(self, key: bytes) -> bool:
        number = self.number()
        check_key(key)
        return number is not None and bool(self._ask_for(sql.table(number).has, key)[0])

    def __contains__(self, key: bytes) -> bool:
        return self.contains_key(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        number = self.number()
        wanted = [check_key(key) for key in keys]
        if number is None or not wanted:
            return [None] * len(wanted)
        query = sql.table(number).get_many
        found = dict(cast("list[Item]", self._ask(number, (query, [list(set(wanted))]))))
        return [found.get(key) for key in wanted]

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        number = self.number()
        asked = Ranges(number, check_ranges(bounds), check_limit(limit), reverse=reverse)
        first = asked.statement()
        if number is None or first is None:
            return asked.found
        instant, page = self._begin(number, first)
        asked.take(page)
        return asked.read(instant)

    def __len__(self) -> int:
        number = self.number()
        if number is None:
            return 0
        return int(self._ask(number, (sql.table(number).total, ()))[0][0])

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        found = self._walk(lo, hi, limit, reverse=reverse, values=True)
        return Cursor(*cast("Ends", (found.near(), found.far())))

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        found = self._walk(lo, hi, limit, reverse=reverse, values=False)
        return (row[0] for row in found.near())

    def _walk(
        self,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        *,
        reverse: bool,
        values: bool,
    ) -> Page | Walk:
        number = self.number()
        check_bound(lo)
        check_bound(hi)
        bounds = Span(number or 0, lo, hi, check_limit(limit), values=values)
        if number is None or bounds.is_empty:
            return Page([])
        asked = bounds.first(reverse=reverse)
        if bounds.limit == bounds.first_rows:
            page = self._ask(number, asked)
            if bounds.is_whole(page, bounds.first_rows):
                return Page(page)
        instant, page = self._begin(number, asked)
        if bounds.is_whole(page, bounds.first_rows):
            return Page(page)
        return Walk(bounds, lambda: instant, reverse=reverse, first=page)

    def _begin(self, number: int, first: Statement) -> tuple[Instant, list[Row]]:
        """A moment to read in, and what its first statement gave, in one round trip."""
        try:
            instant, (there, page) = Instant.begin(
                self._db.pool, [(sql.table(number).is_there, ()), first]
            )
        except MissingTableError:
            raise self._gone() from None
        if not there[0][0]:
            raise self._gone()
        return instant, page

    def _end(self, lo: bytes | None, hi: bytes | None, *, reverse: bool) -> Item | None:
        """The first or last entry between the bounds."""
        number = self.number()
        check_bound(lo)
        check_bound(hi)
        bounds = Span(number or 0, lo, hi, 1)
        if number is None or bounds.is_empty:
            return None
        page = cast("list[Item]", self._ask(number, bounds.first(reverse=reverse)))
        return page[0] if page else None

    def first(self) -> Item | None:
        return self._end(None, None, reverse=False)

    def last(self) -> Item | None:
        return self._end(None, None, reverse=True)

    # Writing ------------------------------------------------------------------------------------
    def _commit(self, write: Callable[[Tree], T]) -> T:
        self.number()

        def run(tx: kv.Transaction) -> T:
            if self._db.catalog.numbers.get(self.name) != self._number:
                raise InvalidArgumentError(DROPPED)
            return write(tx.open_tree(self.name))

        return self._db.transaction(run)

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self.number()
        self._db.operators.choose(self.name, fn, name)

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        self.number()
        if only_durable and self._db.settings.read_only:
            raise InvalidArgumentError("a store that is open for reading cannot make durable")
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        self._db.delivery.watch(self.name, subscriber, since)
        return subscriber
