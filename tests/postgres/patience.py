"""Waiting for what other processes do in their own time."""

import time

from conduitstore.errors import ConflictError, LockedError, UnavailableError

PATIENCE_SECONDS = 60
TOO_SLOW = (ConflictError, LockedError, UnavailableError)
"""What a call may get where little time is allowed for it, and the server gets no processor."""


def eventually(condition):
    """Wait until ``condition()`` holds; gives what it gave."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def in_the_end(call):
    """What ``call`` gives, made again while the server is too slow for it: harmless to repeat."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except TOO_SLOW:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
