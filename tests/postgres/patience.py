"""Waiting for what other processes do in their own time."""

import time

PATIENCE_SECONDS = 60


def eventually(condition):
    """Wait until ``condition()`` holds; gives what it gave."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result
