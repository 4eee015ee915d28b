"""Text for people: aligned tables, with style and cut to size on a terminal, plain elsewhere.

What a stranger wrote is shown as text only: no markup, no control characters, one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from conduitstore.types import JsonObject

_DESCRIBED_BY = {
    "m.room.message": "body",
    "m.room.member": "membership",
    "m.room.name": "name",
    "m.room.topic": "topic",
    "m.room.redaction": "reason",
}

_TEXT_LENGTH_MAX = 100
_JOINER = "\N{ZERO WIDTH JOINER}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Cell = str | int


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._console = Console(markup=False, highlight=False, emoji=False)

    def heading(self, text: str) -> None:
        """A new section."""
        self._print("")
        if self._console.is_terminal:
            self._console.print(Rule(Text(one_line(text), style="bold"), align="left"))
        else:
            self._print(f"== {one_line(text)}")

    def line(self, text: str, style: str = "") -> None:
        """One line of prose."""
        self._print(one_line(text), style)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Aligned columns, ints to the right; a line is cut where the terminal ends."""
        rows = list(rows)
        cells = [[_cell_text(cell) for cell in row] for row in rows]
        numeric = [isinstance(cell, int) for cell in (rows or [columns])[0]]
        head, *lines = _aligned([list(columns), *cells], numeric)
        self._print(head, "bold cyan", is_cut=True)
        for line in lines:
            self._print(line, is_cut=True)

    def _print(self, line: str, style: str = "", *, is_cut: bool = False) -> None:
        if not self._console.is_terminal:
            file = self._console.file
            encoding = getattr(file, "encoding", None) or "utf-8"
            # A locale without these characters is no reason to stop.
            file.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            return
        text = Text(line, style=style)
        if is_cut:
            text.truncate(self._console.width, overflow="ellipsis")
        self._console.print(text)


def _aligned(rows: list[list[str]], numeric: list[bool]) -> Iterable[str]:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = []
        for cell, width, is_number in zip(row, widths, numeric, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if is_number else cell + space)
        yield "  ".join(padded).rstrip()


def _cell_text(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else one_line(cell)


def one_line(text: str) -> str:
    """``text`` without anything that could move a cursor; joiners inside emoji stay."""
    return "".join(
        " " if c.isspace() else c if c.isprintable() or c == _JOINER else _REPLACEMENT for c in text
    )


def bytes_text(raw: bytes) -> str:
    """Bytes as text, with escapes."""
    return repr(raw)[2:-1]


def shortened(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= _TEXT_LENGTH_MAX else text[: _TEXT_LENGTH_MAX - 1] + "…"


def event_row(pdu: JsonObject) -> tuple[str, str, str]:
    """Time, sender and what the event says."""
    content = pdu["content"]
    said = content.get(_DESCRIBED_BY.get(pdu["type"], ""))
    if pdu["type"] == "m.reaction" and isinstance(content.get("m.relates_to"), dict):
        said = content["m.relates_to"].get("key")
    about = f" {pdu['state_key']}" if pdu.get("state_key") else ""
    is_plain = pdu["type"] == "m.room.message" and said is not None
    text = said if is_plain else f"[{pdu['type']}{about}] {said or ''}"
    return time_text(pdu["origin_server_ts"]), pdu["sender"], shortened(str(text).strip())


def time_text(time_ms: int) -> str:
    """A timestamp in UTC; a number no calendar knows is shown as it is."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_ms)
