"""Hear of changes under a prefix from a coroutine, and go on later from where one stopped."""

import asyncio
import tempfile

from conduitstore import engine


async def read(subscriber, total):
    for _ in range(total):
        print(await anext(subscriber))
    return subscriber.sequence


async def main(db):
    with db.watch_prefix(b"todo:") as subscriber:
        reader = asyncio.create_task(read(subscriber, 2))
        await asyncio.to_thread(db.insert, b"todo:1", b"sleep")
        await asyncio.to_thread(db.insert, b"note:1", b"nobody is told")
        await asyncio.to_thread(db.remove, b"todo:1")
        seen = await reader

    db.insert(b"todo:2", b"while nobody listened")
    with db.watch_prefix(b"todo:", since=seen) as subscriber:
        print("later:", await anext(subscriber))


with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/todo") as db:
    asyncio.run(main(db))
