"""A bound on how long a run takes, whatever it is doing when the time is up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class TimeUpError(Exception):
    """The minutes are over."""


@contextmanager
def at_most(minutes: float) -> Iterator[None]:
    """Say so, and end the program with status 2 when they are over."""
    print(f"ends after {minutes:g} minutes, done or not", flush=True)

    def stop(*_: object) -> NoReturn:
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        yield
    except TimeUpError:
        print(f"not done after {minutes:g} minutes; what stands above was found until then")
        sys.exit(2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
