"""The command line: argv in, tables out. `conduitstore --help` lists the commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the library alone does not need what it is made of."""
    try:
        from .app import app  # noqa: PLC0415  # deferred: click and rich may be missing
    except ModuleNotFoundError as missing:
        library = (missing.name or "").partition(".")[0]
        if library not in ("click", "rich"):
            raise
        sys.exit(f"the command line needs {library}: pip install 'conduitstore[cli]'")
    app()
