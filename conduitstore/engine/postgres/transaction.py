"""A transaction: drafts over what the trees hold, and a journal to undo them.

- The writers' lock is held throughout, so what the trees hold cannot change underneath.
- What was read is remembered: it cannot change, and asking again would be a round trip.
- The journal is that of :mod:`conduitstore.engine.journal`.
- Nothing is sent before the function has returned: then all of it goes out at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from conduitstore import kv
from conduitstore.engine.journal import Journal, JournalTree
from conduitstore.engine.rows import Cursor, backwards
from conduitstore.engine.subscriber import Subscriber
from conduitstore.errors import ClosedError, InvalidArgumentError
from conduitstore.kv import (
    DEFAULT_TREE,
    Batch,
    Bounds,
    Durability,
    Item,
    MergeOperator,
    check_bound,
    check_durability,
    check_key,
    check_limit,
    check_ranges,
    check_tree_name,
    check_value,
)

from . import sql
from .connections import Row
from .draft import Draft, merged
from .faults import DROPPED
from .instant import FIRST_ROWS, Ends, Page, Span, Walk
from .ranges import Ranges

if TYPE_CHECKING:
    from .database import Store
    from .writing import Writing

T = TypeVar("T")
STRENGTH: dict[Durability, int] = {"none": 0, "interval": 1, "commit": 2}


class DraftTree(JournalTree):
    """A tree of a transaction."""

    def __init__(self, tx: Transaction, name: str) -> None:
        self._transaction = tx
        self.name = name

    @property
    def _tx(self) -> Transaction:
        return self._transaction

    def _draft(self) -> Draft:
        self._tx.check()
        draft = self._tx.drafts.get(self.name)
        if draft is None:
            raise InvalidArgumentError(DROPPED)
        return draft

    # Reading ------------------------------------------------------------------------------------
    def get(self, key: bytes) -> bytes | None:
        draft = self._draft()
        over = draft.over.entries
        if check_key(key) in over:
            value: bytes | None = over[key]
            return value
        return draft.committed(key)

    def contains_key(self, key: bytes) -> bool:
        draft = self._draft()
        over = draft.over.entries
        if check_key(key) in over:
            return over[key] is not None
        return bool(draft.is_there([key]))

    def __contains__(self, key: bytes) -> bool:
        return self.contains_key(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        draft, wanted = self._draft(), [check_key(key) for key in keys]
        over = draft.over.entries  # Now: whoever makes the keys may have written.
        found = draft.committed_many(key for key in wanted if key not in over)
        return [over[key] if key in over else found.get(key) for key in wanted]

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        draft = self._draft()
        check_bound(lo)
        check_bound(hi)
        limit = check_limit(limit)
        bounds = Span(draft.number or 0, lo, hi, limit)
        if not draft.over.entries:
            base = self._committed(draft, bounds, reverse)
            return Cursor(*cast("Ends", (base.near(), base.far())))
        if limit is not None:  # Of what is committed, as many may be hidden as were written to.
            bounds.limit, bounds.first_rows = None, min(limit + len(draft.over.entries), FIRST_ROWS)
        base, over = self._committed(draft, bounds, reverse), draft.over.hold()

        def walk(base: Iterator[Row], *, reverse: bool) -> Iterator[Item]:
            return merged(cast("Iterator[Item]", base), over, lo, hi, reverse=reverse)

        near = walk(base.near(), reverse=reverse)
        if limit is None:
            return Cursor(near, walk(base.far(), reverse=not reverse))
        again = walk(base.near(), reverse=reverse)
        return Cursor(islice(near, limit), backwards(islice(again, limit)))

    def _committed(
        self,
        draft: Draft,
        bounds: Span,
        reverse: bool,  # noqa: FBT001 - as in range
    ) -> Page | Walk:
        if draft.number is None or bounds.is_empty or not bounds.first_rows:
            return Page([])
        page = self._tx.writing.rows(*bounds.first(reverse=reverse))
        draft.learn(page)
        if bounds.is_whole(page, bounds.first_rows):
            return Page(page)
        source = self._tx.writing.source
        walk = Walk(bounds, source, reverse=reverse, first=page, learn=draft.learn)
        return self._tx.writing.follow(walk)

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        draft, given, limit = self._draft(), check_ranges(bounds), check_limit(limit)
        over = draft.over.entries
        # Of what is committed, as many may be hidden as were written to.
        most = limit and limit + len(over)
        base = Ranges(draft.number, given, most, reverse=reverse).read(self._tx.writing)
        for rows in base:
            draft.learn(rows)
        if not over:
            return base
        held = draft.over.hold()
        return [
            list(islice(merged(iter(rows), held, lo, hi, reverse=reverse), limit))
            for rows, (lo, hi) in zip(base, given, strict=True)
        ]

    def __len__(self) -> int:
        draft = self._draft()
        if draft.number is None:
            return sum(value is not None for value in draft.over.entries.values())
        total = int(self._tx.writing.rows(sql.table(draft.number).total)[0][0])
        there = draft.is_there(draft.over.entries)
        return total + sum(
            (value is not None) - (key in there) for key, value in draft.over.entries.items()
        )

    # Writing ------------------------------------------------------------------------------------
    def put(self, key: bytes, value: bytes | None) -> None:
        """Insert or remove without asking what was there: no round trip."""
        self._draft()
        check_key(key)
        if value is not None:
            check_value(value)
        self._tx.write(self.name, key, value)

    def merge_operator(self) -> MergeOperator:
        self._draft()
        return self._tx.db.operators.take(self.name, self._tx)

    def set_merge_operator(self, fn: MergeOperator, name: str | None = None) -> None:
        self._draft()
        self._tx.db.operators.choose(self.name, fn, name)

    def watch_prefix(
        self,
        prefix: bytes,
        *,
        capacity: int = 65_536,
        since: int | None = None,
        only_durable: bool = False,
    ) -> Subscriber:
        self._draft()
        subscriber = Subscriber(prefix, capacity, only_durable=only_durable)
        self._tx.db.delivery.watch(self.name, subscriber, since)
        return subscriber


class Transaction(DraftTree, Journal[Draft]):
    """See :class:`conduitstore.kv.Transaction`. Lives in the thread that runs it, until it ends."""

    def __init__(self, db: Store, writing: Writing, durability: Durability) -> None:
        self.db = db
        self.writing = writing
        self.durability = durability
        self.numbers = db.catalog.numbers
        Journal.__init__(self, {DEFAULT_TREE: Draft(writing, 0)}, writing.base.count)
        self.dropped: str | None = None
        self.is_over = False
        self._thread = threading.get_ident()
        self.name = DEFAULT_TREE

    @property
    def _tx(self) -> Transaction:
        return self

    def check(self) -> None:
        """Whether the transaction's handles may be used here and now."""
        if self.is_over:
            raise ClosedError("the transaction is over, and its handles with it")
        if self._thread != threading.get_ident():
            raise InvalidArgumentError("a transaction belongs to the thread that runs it")

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        """Run ``fn`` with a savepoint; the commit gets the strongest durability anybody asked."""
        wanted = check_durability(durability) or self.durability
        result = super().transaction(fn, durability=durability, read_only=read_only)
        self.durability = max(self.durability, wanted, key=STRENGTH.__getitem__)
        return result

    def open_tree(self, name: str) -> DraftTree:
        self.check()
        if check_tree_name(name) not in self.drafts:
            number = self.numbers.get(name)
            if number is None:
                self.created.append(name)
            self.drafts[name] = Draft(self.writing, number)
        return DraftTree(self, name)

    def tree_names(self) -> list[str]:
        self.check()
        return sorted([*self.numbers, *self.created])

    def current_count(self) -> int:
        self.check()
        return self.count

    def next_count(self) -> int:
        self.check()
        self.count = self.writing.draw()
        return self.count

    def generate_id(self) -> int:
        self.check()
        return self.db.ids.take(1)[0]

    def apply_batch(self, batch: Batch) -> None:
        self.check()
        for name, key, value in batch.writes:
            self.open_tree(name).put(key, value)
