"""The packed history: what one of two federating servers stored and was sent, in arrival order.

Line by line: a header with totals, one operation each, a trailer with who is joined at the end.
`tools/pack_demo.py` writes it and describes every kind of line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from conduitstore.errors import InvalidArgumentError
from conduitstore.ndjson import Source, read_lines
from conduitstore.types import EventId, JsonObject, RoomId, UserId

PACKED = Path(str(files("conduitstore.demo").joinpath("two-servers.ndjson.zst")))
FORMAT = 1


class History:
    """A history in memory, still as text: some megabytes; operations are decoded as they come.

    Attributes:
        format: how its lines are written.
        source: where it comes from.
        totals: operations by kind.
        joined: room to its joined users at the end.
        state: room to its resolved state at the end: type, state key and event id of each entry.
    """

    def __init__(self, path: Path = PACKED) -> None:
        with path.open("rb") as file:
            lines = list(read_lines(Source(file)))
        if lines and lines[-1].fault is not None:
            raise InvalidArgumentError(f"{path}: {lines[-1].fault}")
        try:
            header, trailer = json.loads(lines[0].content), json.loads(lines[-1].content)
            self.format: int = header["format"]
            self.source: str = header["source"]
            self.totals: dict[str, int] = header["totals"]
            self.joined: dict[RoomId, list[UserId]] = trailer["joined"]
            self.state: dict[RoomId, list[tuple[str, str, EventId]]] = trailer["state"]
        except (LookupError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"{path} is not a packed history") from error
        if self.format != FORMAT:
            raise InvalidArgumentError(f"{path} has format {self.format}, not {FORMAT}")
        self._operations = [line.content for line in lines[1:-1]]

    def __len__(self) -> int:
        return len(self._operations)

    def __iter__(self) -> Iterator[JsonObject]:
        return map(json.loads, self._operations)
