"""`conduitstore page`: a room's events, as a client pages through them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

import conduitstore
from conduitstore.types import PduToken, RoomId, StoredEvent

from .display import Screen, event_row
from .options import existing_store, store_option

_START = "start"


@click.command()
@click.argument("room")
@store_option
@click.option("--limit", default=20, type=click.IntRange(min=1), help="Events at most.")
@click.option("--back", metavar="TOKEN", help="Events older than this, newest first.")
@click.option("--forward", metavar="TOKEN", help='Events newer than this; "start": the oldest.')
def page(room: str, path: Path | str, limit: int, back: str | None, forward: str | None) -> None:
    """Show a page of ROOM's events, by default the newest ones, newest first.

    The first column is each event's token.
    """
    if back is not None and forward is not None:
        raise click.UsageError("--back and --forward exclude each other")
    start = None if forward == _START else forward or back
    with conduitstore.open(existing_store(path), read_only=True) as store, store.snapshot() as view:
        if view.rooms.short.room(RoomId(room)) is None:
            raise click.ClickException(f"the store has no events of {room}")
        events, more = view.rooms.timeline.page(
            RoomId(room),
            None if start is None else PduToken(start),
            "b" if forward is None else "f",
            limit,
        )
    screen = Screen()
    show_events(screen, events)
    screen.line(
        "(no more)"
        if more is None
        else f"more: {'--back' if forward is None else '--forward'} {more}"
    )


def show_events(screen: Screen, events: Iterable[StoredEvent]) -> None:
    """A table of events: token, time, sender, what was said."""
    rows = [(str(event.position), *event_row(event.pdu)) for event in events]
    screen.table(("token", "time", "sender", "event"), rows)
