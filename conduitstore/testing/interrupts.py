"""Interrupts at every moment at which Python notices one: behind calls, at loops' turns, at entry.

    at = 0
    while interrupted(action, at := at + 1, KeyboardInterrupt):
        ...                      # look at what it left

What comes at such a moment is an exception (a signal's handler raised it, or there was no memory),
or some code of its own: a finalizer that the collector runs. Only moments inside the engine count.
Python 3.11 to 3.13 look for signals behind calls, where loops turn and where functions begin, and
nowhere else: a lock that ``with`` takes in one call into C is never left between the two. What is
raised here comes an instruction later, so a moment at which that would be behind the end of the
``try`` or ``with`` that it belongs to is passed over. From Python 3.12 on the
moments of a function are seen from its second run on: let ``action`` run once with a moment that
never comes, before it counts.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from .scheduler import ENGINE

_NOTICES = frozenset(
    number
    for name, number in dis.opmap.items()
    if name in ("RESUME", "JUMP_BACKWARD", "FOR_ITER")
    or (name.startswith("CALL") and "INTRINSIC" not in name)
)
Happening = type[BaseException] | Callable[[], object]
Place = tuple[str, int]
"""File and line."""


class Interrupter:
    """Lets something happen at the nth moment; counts those that come, and says where they were."""

    def __init__(self, at: int, happening: Happening) -> None:
        self.moments_total = 0
        self.places: list[Place] = []
        self._at = at
        self._happening = happening
        self._codes: dict[CodeType, tuple[bytes, list[int]]] = {}

    @property
    def where(self) -> str:
        """The line at which it struck."""
        return "{}:{}".format(*self.places[-1]) if self.has_struck else ""

    @property
    def has_struck(self) -> bool:
        """Whether there were so many moments."""
        return self.moments_total >= self._at

    def run(self, action: Callable[[], object]) -> object:
        """What ``action`` gives, or raises."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return action()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if self.has_struck or not code.co_filename.startswith(ENGINE):
            return None
        if code not in self._codes:
            self._codes[code] = code.co_code, _handlers(code)
        ops, handlers = self._codes[code]
        last = -1

        def inside(frame: FrameType, event: str, _arg: Any) -> Any:
            nonlocal last
            if event == "opcode":
                before, last = last, frame.f_lasti
                noticed = before >= 0 and ops[before] in _NOTICES
                if noticed and handlers[before] == handlers[last] and not self.has_struck:
                    self._moment(frame)
            return inside

        # In this order: Python 3.13 tells instructions only of frames that have a tracer by then.
        frame.f_trace = inside
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    def _moment(self, frame: FrameType) -> None:
        self.moments_total += 1
        self.places.append((frame.f_code.co_filename, frame.f_lineno))
        if self.has_struck:
            happening = self._happening
            if isinstance(happening, type):
                raise happening
            sys.settrace(None)
            happening()


def _handlers(code: CodeType) -> list[int]:
    """For each byte of the code: where an exception there is caught; -1: nowhere."""
    found = [-1] * len(code.co_code)
    for entry in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        found[entry.start : entry.end] = [entry.target] * (entry.end - entry.start)
    return found
