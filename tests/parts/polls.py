"""What the tests of long polls share."""

import asyncio
from functools import wraps

A, B = "@a:one.test", "@b:one.test"
LONG_MS = 600_000


def on_a_loop(test):
    """Run an async test to its end, within a minute."""

    @wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def now(store):
    return store.globals.current_count()


async def start_hub(store):
    """The first wait cannot know what came before it; have that behind us."""
    await store.changes.wait(A, "D", now(store), 0)
    assert_nothing_is_kept(store)


def assert_nothing_is_kept(store):
    hub = store.changes
    assert (hub._waiters, hub._loops, hub._homes) == ({}, {}, ())
