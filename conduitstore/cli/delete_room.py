"""`conduitstore delete-room`: a room and everything that was built of it, removed."""

from __future__ import annotations

from pathlib import Path

import click

import conduitstore
from conduitstore.types import RoomId
from conduitstore.upkeep import delete_room as delete_room_

from .display import Screen, one_line
from .options import existing_store, store_option


@click.command("delete-room")
@click.argument("room")
@store_option
@click.option("--dry-run", is_flag=True, help="Say how many rows would go, and remove none.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
def delete_room(room: str, path: Path | str, *, dry_run: bool, yes: bool) -> None:
    """Delete ROOM with its events, states, members and all that users have in it.

    It may be stopped at any point: the next run removes the rest.
    """
    with conduitstore.open(existing_store(path)) as store:
        members = store.rooms.members.joined_total(RoomId(room))
        if not (yes or dry_run):
            question = f"delete {room} with all that is in it, and its {members:,} members?"
            click.confirm(one_line(question), abort=True, err=True)
        removed = delete_room_(store.db, RoomId(room), dry_run=dry_run)
    screen = Screen()
    screen.table(("tree", "would go" if dry_run else "removed"), sorted(removed.items()))
    screen.line(f"{removed.total():,} rows {'would go' if dry_run else 'removed'}")
