"""The group of commands, and what they do with errors raised on purpose."""

from __future__ import annotations

import errno

import click

from conduitstore.errors import ConduitStoreError
from conduitstore.version import VERSION

from .build_capi import build_capi
from .demo import demo
from .import_ import import_
from .page import page
from .scan import scan
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


for command in (demo, import_, page, trees, scan, build_capi):
    app.add_command(command)
