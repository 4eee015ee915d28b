"""`conduitstore purge-media`: media forgotten, by name or by what they are."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import click

import conduitstore
from conduitstore.parts.holder import Parts
from conduitstore.parts.media.records import Selection
from conduitstore.types import FileHash, MediaId, Mxc, ServerName, UserId
from conduitstore.upkeep.batches import tried

from .display import one_line
from .options import existing_store, files_in, media_option, store_option

_DAY_SECS = 24 * 60 * 60


@click.command("purge-media")
@click.argument("names", nargs=-1, metavar="[MXC]...")
@store_option
@media_option
@click.option("--server", help="Media of this server.")
@click.option("--uploader", metavar="USER", help="Media of this local user.")
@click.option("--older-days", metavar="N", type=click.IntRange(min=0), help="Older than N days.")
@click.option("--type", "content_type", help="Of this type: image/png, or all of image.")
@click.option("--dry-run", is_flag=True, help="Say how many files would go, and remove none.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
def purge_media(
    names: tuple[str, ...],
    path: Path | str,
    media: Path | None,
    server: str | None,
    uploader: str | None,
    older_days: int | None,
    content_type: str | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Forget media with their thumbnails: those named, mxc://server/id, or those that fit.

    A file goes with its last use. Without --media the bytes stay until a gc that has it.
    """
    selection = Selection(
        server=None if server is None else ServerName(server),
        uploader=None if uploader is None else UserId(uploader),
        content_type=content_type,
        before_secs=None if older_days is None else int(time.time()) - older_days * _DAY_SECS,
    )
    if bool(names) == (selection != Selection()):
        raise click.UsageError("say which: either their names, or what they are")
    mxcs = [_mxc(name) for name in names]
    with conduitstore.open(existing_store(path), media_files=files_in(media)) as store:
        gone = tried(store.db, lambda tx: _purge(Parts(tx, store.beside), mxcs, selection))
        if not dry_run:
            if not yes:
                question = f"forget these media, and {len(gone):,} files with them?"
                click.confirm(question, abort=True, err=True)
            gone = store.transaction(lambda tx: _purge(tx, mxcs, selection))
            if media is not None:
                store.media.contents.delete_files()
    click.echo(f"{len(gone):,} files {'would go' if dry_run else 'are gone'}")


def _mxc(name: str) -> Mxc:
    server, slash, media_id = name.removeprefix("mxc://").partition("/")
    if not (name.startswith("mxc://") and server and slash and media_id):
        raise click.UsageError(f"media are named mxc://server/id, not {one_line(name)}")
    return Mxc(ServerName(server), MediaId(media_id))


def _purge(tx: Parts, mxcs: Iterable[Mxc], selection: Selection) -> list[FileHash]:
    chosen = list(mxcs)
    if chosen:
        return tx.media.retention.purge(chosen)
    return tx.media.retention.purge_selected(selection)
