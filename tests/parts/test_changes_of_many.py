"""Long polls on many loops, beside many writers."""

import asyncio
import threading

from polls import B, assert_nothing_is_kept


def sync_until(store, user, total):
    """A client: long polls and reads its queue, until it has ``total`` messages."""

    async def client():
        since, seen = 0, []
        while len(seen) < total:
            changed = await store.changes.wait(user, "D", since, 60_000)
            assert changed, f"{user} was not woken, with {len(seen)} of {total} messages"
            with store.snapshot() as view:
                upto = view.globals.current_count()
                seen += [count for count, _ in view.to_device.events_since(user, "D", since, upto)]
            since = upto
        return seen

    return client()


def test_no_wake_up_is_lost_among_loops_writers_and_waiters(store):
    users, loops_total, writers_total, each = 6, 2, 2, 40
    clients = [[f"@{loop}-{n}:x" for n in range(users)] for loop in range(loops_total)]
    everyone = [user for group in clients for user in group]
    results = []

    def run_clients(group):
        async def main():
            return await asyncio.gather(
                *(sync_until(store, user, writers_total * each) for user in group)
            )

        results.append(asyncio.run(main()))

    def write():
        for n in range(each):
            for user in everyone:
                store.to_device.queue(B, user, "D", "t", {"n": n})

    threads = [threading.Thread(target=run_clients, args=(group,)) for group in clients]
    threads += [threading.Thread(target=write) for _ in range(writers_total)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == loops_total
    for seen in (seen for group in results for seen in group):
        assert len(seen) == len(set(seen)) == writers_total * each
    assert_nothing_is_kept(store)
