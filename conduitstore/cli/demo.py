"""`conduitstore demo`: a homeserver's history in, and served back as a homeserver would."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import Progress

import conduitstore
from conduitstore import engine
from conduitstore.demo.history import PACKED, History
from conduitstore.demo.kill import kill_a_writer
from conduitstore.demo.messages import message
from conduitstore.demo.replay import Tally, replay, wrong_memberships, wrong_states
from conduitstore.store import Store
from conduitstore.sync import SyncAnswer, sync
from conduitstore.types import Count, DeviceId, RoomId, UserId

from . import trees
from .display import Screen, event_row
from .options import new_path_option
from .page import show_events

_PAGE_EVENTS = 8
_NEWS_OPERATIONS = 200  # how much of the history a client has not yet heard of
_LONG_POLL_MS = 30_000

Client = tuple[UserId, DeviceId]


@click.command()
@new_path_option
@click.option(
    "--history",
    "history_file",
    default=PACKED,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Another history, packed by tools/pack_demo.py.",
)
@click.pass_context
def demo(ctx: click.Context, path: Path | None, history_file: Path) -> None:
    """Replay a real homeserver's history, then serve it back.

    The store is made in DIR and kept, or in a temporary directory. Exit status 1 if anything that
    was promised did not hold.
    """
    history, screen = History(history_file), Screen()
    made = (
        tempfile.TemporaryDirectory(prefix="conduitstore-") if path is None else nullcontext(path)
    )
    with made as directory:
        is_right = _scenes(screen, history, Path(directory))
        if path is not None:
            screen.line(f"\nThe store stays at {path}: try conduitstore trees --path {path}")
    ctx.exit(0 if is_right else 1)


def _scenes(screen: Screen, history: History, path: Path) -> bool:
    with conduitstore.open(path, create_new=True) as store:
        tally, since = _replay(screen, store, history)
        is_right = _check(screen, store, history)
        client = _busiest_client(store)
        _pages(screen, store, tally)
        is_right &= _syncs(screen, store, tally, client, since)
        is_right &= _to_device(screen, store, client)
    is_right &= _kill(screen, path)
    screen.heading("What is in the store now")
    with engine.open(path) as db:
        rows = list(trees.tree_rows(db))
    screen.table(trees.COLUMNS, [row for row in rows if row[1]])
    screen.line(f"{sum(not row[1] for row in rows)} more trees are empty: this history needs none.")
    return is_right


def _replay(screen: Screen, store: Store, history: History) -> tuple[Tally, Count]:
    """The history in; also the token a client would hold that missed the end of it."""
    screen.heading("A homeserver's history goes in")
    screen.line(f"Source: {history.source}.")
    tally, since, started = Tally(), Count(0), time.perf_counter()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("replaying", total=len(history))
        for done, _ in enumerate(replay(store, tally.watch(history)), start=1):
            progress.update(task, completed=done)
            if done == len(history) - _NEWS_OPERATIONS:
                since = store.globals.current_count()
    elapsed_s = time.perf_counter() - started
    kinds = tally.operations
    screen.table(
        ("what", "total"),
        [
            ("rooms", len(tally.events)),
            ("events", tally.events.total()),
            ("  of them backfilled", kinds["backfill"]),
            ("outliers", kinds["outlier"]),
            ("users", kinds["user"]),
            ("devices", kinds["device"]),
            ("to-device messages", tally.to_device_total),
            ("receipts and read markers", kinds["receipt"]),
            ("account data", kinds["account_data"]),
        ],
    )
    screen.line(
        f"{kinds.total():,} operations, each a commit of its own, took {elapsed_s:.1f} seconds."
    )
    return tally, since


def _check(screen: Screen, store: Store, history: History) -> bool:
    """Members and state against what the homeserver itself ended with."""
    strangers, states = wrong_memberships(store, history), wrong_states(store, history)
    for room in strangers:
        screen.line(f"{room}: joined users differ from the homeserver's", "red")
    for room in states:
        screen.line(f"{room}: the state differs from the homeserver's", "red")
    joined, entries = history.joined.values(), history.state.values()
    if not strangers:
        total, rooms = sum(map(len, joined)), len(joined)
        screen.line(f"Joined members checked: {total} in {rooms} rooms, as recorded.", "green")
    if not states:
        total, rooms = sum(map(len, entries)), len(entries)
        screen.line(f"State checked: {total} events in {rooms} rooms, as recorded.", "green")
    return not strangers and not states


def _busiest_client(store: Store) -> Client:
    """The device with the longest queue."""
    upto = store.globals.current_count()

    def queue_length(client: Client) -> int:
        user, device = client
        return len(store.to_device.events_since(user, device, Count(0), upto))

    clients = [(user, device) for user in store.users.all() for device in store.devices.ids(user)]
    return max(clients, key=queue_length)


def _pages(screen: Screen, store: Store, tally: Tally) -> None:
    ((room, total),) = tally.events.most_common(1)
    screen.heading(f"The busiest room: {tally.names.get(room, 'no name')}, {total:,} events")
    start = None
    with store.snapshot() as view:
        for name in ("newest page", "one page back", "two pages back"):
            events, start = view.rooms.timeline.page(room, start, "b", _PAGE_EVENTS)
            screen.line(f"{name}:", "bold")
            show_events(screen, events)
            if start is None:
                break


def _syncs(screen: Screen, store: Store, tally: Tally, client: Client, since: Count) -> bool:
    user, device = client
    screen.heading(f"{user} syncs from {device}")
    with store.snapshot() as view:
        answer = sync(view, user, device, since)
        rooms = view.rooms.members.rooms_joined(user)
        room = max(rooms, key=tally.events.__getitem__)
        sender = next(u for u in view.rooms.members.joined_members(room) if u != user)
    _show_answer(screen, tally, since, answer)
    poll = asyncio.run(_long_poll(store, client, answer.next_batch, room, sender))
    screen.line(
        f"A long poll from {answer.next_batch} ended after {poll.waited_ms:.1f} ms:", "bold"
    )
    _show_answer(screen, tally, answer.next_batch, poll.answer)
    if not poll.is_right:
        screen.line(f"It was not woken by the new message in {room}.", "red")
    return poll.is_right


class _Poll(NamedTuple):
    """How a long poll ended: ``is_right`` when it waited, was woken and got just the new event."""

    is_right: bool
    waited_ms: float
    answer: SyncAnswer


async def _long_poll(
    store: Store, client: Client, since: Count, room: RoomId, sender: UserId
) -> _Poll:
    """Wait for news; meanwhile somebody says something."""
    pdu, event_id = message(room, sender, "Is anybody awake?", depth=1)
    waiting = store.changes.wait(*client, since, timeout_ms=_LONG_POLL_MS)
    await asyncio.sleep(0)
    had_waited, started = not waiting.done(), time.perf_counter()
    await store.run(lambda tx: tx.rooms.append(pdu, event_id, room))
    is_woken = await waiting
    waited_ms = (time.perf_counter() - started) * 1_000
    answer = await store.read(lambda view: sync(view, *client, since))
    told = [event.event_id for news in answer.joined.values() for event in news.timeline.events]
    return _Poll(had_waited and is_woken and told == [event_id], waited_ms, answer)


def _show_answer(screen: Screen, tally: Tally, since: Count, answer: SyncAnswer) -> None:
    screen.line(f"since {since}, next_batch {answer.next_batch}:", "bold")
    rows = [
        (
            tally.names.get(room, room),
            f"{len(news.timeline.events)}{' and more' if news.timeline.limited else ''}",
            len(news.receipts),
            len(news.account_data),
            " - ".join(event_row(news.timeline.events[-1].pdu)[1:]) if news.timeline.events else "",
        )
        for room, news in answer.joined.items()
    ]
    screen.table(("room", "new events", "receipts", "account data", "newest"), rows)
    screen.line(
        f"{len(answer.to_device)} to-device messages, {len(answer.account_data)} global account "
        f"data, {len(answer.invited)} invites, {len(answer.left)} rooms left"
    )


def _to_device(screen: Screen, store: Store, client: Client) -> bool:
    user, device = client
    screen.heading(f"The to-device queue of {user} {device}")

    def deliver(since: Count) -> int:
        """What a sync does: drop what its token confirms, deliver the rest."""
        dropped = store.to_device.forget_until(user, device, since)
        upto = store.globals.current_count()
        delivered = len(store.to_device.events_since(user, device, since, upto))
        rows.append((f"sync since {since}", dropped, delivered))
        return delivered

    rows: list[tuple[str, int, int]] = []
    next_batch = store.globals.current_count()
    first, retried = deliver(Count(0)), deliver(Count(0))
    acknowledged, old_token = deliver(next_batch), deliver(Count(0))
    screen.table(("request", "dropped", "delivered"), rows)
    screen.line("Delivered, delivered again on a retry, acknowledged by the next token, gone.")
    return first > 0 and first == retried and acknowledged == old_token == 0


def _kill(screen: Screen, path: Path) -> bool:
    screen.heading("A writer process is killed with SIGKILL in mid-write")
    kill = kill_a_writer(path)
    found = len(kill.acknowledged) - len(kill.missing)
    screen.table(
        ("what", "total"),
        [
            ("events acknowledged before the kill", len(kill.acknowledged)),
            ("of them found after reopening", found),
            ("stored, but killed before it could say so", kill.stored_total - found),
        ],
    )
    for event_id in kill.missing:
        screen.line(f"lost: {event_id}", "red")
    is_right = kill.was_killed and bool(kill.acknowledged) and not kill.missing
    screen.line(
        "Nothing acknowledged was lost." if is_right else f"This is wrong: {kill}",
        "green" if is_right else "red",
    )
    return is_right
