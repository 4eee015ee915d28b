"""An order in which the operations of several threads are right, if there is one.

The search is that of Wing and Gong: try what may come next, never the same state twice. Threads do
one thing at a time, so a state is how far each has come, and the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .histories import History, Operation, State


class Search:
    """One history.

    ``apply`` gives the state after an operation; None where one of its answers would be wrong.
    """

    def __init__(
        self,
        history: History,
        apply: Callable[[State, Operation], State | None],
        *,
        states_max: int | None = None,
    ) -> None:
        threads: dict[int, History] = {}
        for operation in sorted(history, key=lambda one: one.began):
            threads.setdefault(operation.thread, []).append(operation)
        self._threads = list(threads.values())
        self._total = len(history)
        self._best: tuple[History, State] = ([], frozenset())
        self._apply = apply
        self._states_max = states_max
        self.gave_up = False

    def order(self, state: State) -> History | None:
        """Depth first, with a stack of its own: histories are long."""
        order: History = []
        begin = (0,) * len(self._threads)
        seen = {(begin, state)}
        stack = [self._next(begin, state)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                if order:
                    order.pop()
                continue
            operation, place, after = found
            if (place, after) in seen:
                continue
            if len(seen) == self._states_max:
                self.gave_up = True
                return None
            seen.add((place, after))
            order.append(operation)
            if len(order) > len(self._best[0]):
                self._best = order.copy(), after
            if len(order) == self._total:
                return order
            stack.append(self._next(place, after))
        return order if not self._total else None

    def _next(
        self, place: tuple[int, ...], state: State
    ) -> Iterator[tuple[Operation, tuple[int, ...], State]]:
        """What may come next: it began before anything that is left ended."""
        waiting = [
            (number, thread[at])
            for number, (thread, at) in enumerate(zip(self._threads, place, strict=True))
            if at < len(thread)
        ]
        first_end = min((one.ended for _, one in waiting), default=0)
        for number, operation in waiting:
            if operation.began <= first_end:
                after = self._apply(state, operation)
                if after is not None:
                    at = place[number] + 1
                    yield operation, (*place[:number], at, *place[number + 1 :]), after

    def explanation(self) -> str:
        """The longest order that was found, and what then does not fit."""
        order, state = self._best
        done = set(map(id, order))
        left = sorted(
            (one for thread in self._threads for one in thread if id(one) not in done),
            key=lambda one: one.began,
        )
        lines = [
            f"no order explains all {self._total} operations; {len(order)} fit, the last of them",
            *map(str, order[-6:]),
            f"then there is {dict(sorted(state))!r}",
            "and none of these can follow:",
            *map(str, left[: len(self._threads)]),
        ]
        return "\n".join(lines)
