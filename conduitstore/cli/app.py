"""The group of commands, and what they do with errors raised on purpose."""

from __future__ import annotations

import errno

import click

from conduitstore.errors import ConduitStoreError
from conduitstore.version import VERSION

from .backup import backup, restore
from .build_capi import build_capi
from .check import check, verify
from .compact import compact
from .copy import copy
from .delete_room import delete_room
from .demo import demo
from .gc import gc
from .import_ import import_
from .migrate import migrate
from .page import page
from .purge_media import purge_media
from .rebuild import rebuild
from .recover import recover
from .scan import scan
from .stats import stats
from .stream import export, import_stream
from .trees import trees


class App(click.Group):
    """A known failure is one line on standard error and exit status 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConduitStoreError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # The reader of our output has seen enough: click ends quietly.
            raise click.ClickException(str(error)) from error


@click.group(cls=App)
@click.version_option(VERSION, prog_name="conduitstore")
def app() -> None:
    """The data layer of a Matrix homeserver, from the command line."""


COMMANDS = (
    *(demo, import_, page, trees, scan, stats),
    *(check, verify, recover, backup, restore, compact, copy, export, import_stream),
    *(migrate, rebuild, gc, delete_room, purge_media),
    build_capi,
)
for command in COMMANDS:
    app.add_command(command)
