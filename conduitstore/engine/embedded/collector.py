"""Python's cyclic collector, out of the way of whoever makes objects by the hundred thousand."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """For making much that all stays: a collection meanwhile looks at all of it, and finds nothing.

    It holds for the whole process, so it is for what takes a second or a few: cycles that other
    threads leave behind wait for so long.
    """
    was_on = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if was_on:
            gc.enable()
