"""Write docs/trees.md, the catalogue for readers, out of conduitstore/schema.

    python tools/make_trees_page.py

A house test compares the page with the schema, so run this after a change to any tree.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from conduitstore.schema import AREAS, RETIRED, TREES, TreeSchema

PAGE = Path(__file__).parents[1] / "docs" / "trees.md"
_PARTS = {page.stem.rpartition(".")[2]: page.name for page in (PAGE.parent / "parts").glob("*.md")}

_HEAD = """\
# The trees

Every tree of a store, written by `tools/make_trees_page.py` out of `conduitstore/schema/`: {total}
trees, {conduits} of them by Conduit's names and layouts. One marked * is not Conduit's: it is a
fork's, or our own.

In keys and values, `ff` is one byte 0xFF; `name` is an id, `name:text` text that may be empty,
`name:any` text that a client chose (folded to a hash when long), `name:u64` 8 bytes big-endian,
`position` a place in a timeline. `name:whole` is text however long, `name:hash` 32 bytes of
SHA-256, `name:u32` 4 bytes, `name:flag` a 0xFF or nothing; `destination` is an outgoing queue and
`queued` what waits in it: an event's PduId or an EDU's count. Where nothing stands between two
fields, nothing is written.

What losing a tree costs: *primary* exists nowhere else; *shared*, other servers hold copies of
parts; *numbering*, what uses its numbers is lost with it; *derived* is rebuilt from other trees by
`conduitstore rebuild`; *disposable* may go at any time.

What removes rows is an operation of the store, by its name there: `devices.remove` is
`store.devices.remove`, `gc` is `store.gc` and `conduitstore gc`, `delete_room` is
`conduitstore.upkeep.delete_room` and `conduitstore delete-room`. No tree grows for ever: one that
none of them empties says why it needs none.
"""

_COLUMNS = ("Tree", "Key", "Value", "Owner", "Worth", "What removes its rows", "Meaning")


def page() -> str:
    """The whole document."""
    parts = [_head()]
    parts += [_area(name, trees) for name, trees in AREAS.items() if trees]
    parts.append(_retired())
    return "\n".join(parts)


def _head() -> str:
    conduits = sum(not tree.ours for tree in TREES.values())
    return _HEAD.format(total=len(TREES), conduits=conduits)


def _area(name: str, trees: list[TreeSchema]) -> str:
    module = importlib.import_module(f"conduitstore.schema.{name}")
    assert module.__doc__ is not None
    return f"## {name.capitalize()}\n\n{module.__doc__.strip()}\n\n" + _table(
        _COLUMNS, map(_cells, trees)
    )


def _cells(tree: TreeSchema) -> Iterator[str]:
    yield f"`{tree.name}`" + (" *" if tree.ours else "")
    yield f"`{tree.key.notation}`"
    yield tree.value if tree.value_shape is None else f"`{tree.value}`"
    gone = ", ".join(f"`{name}`" for name in tree.emptied_by) or tree.gone
    yield f"[{tree.owner}](parts/{_PARTS[tree.owner]})"
    yield from (tree.worth, gone, tree.meaning)


def _retired() -> str:
    names = defaultdict(list)
    for name, reason in RETIRED.items():
        names[reason].append(f"`{name}`")
    rows = ((reason, ", ".join(sorted(named))) for reason, named in names.items())
    return (
        "## Retired names\n\nA directory that still has one of these is let be, and no tree gets "
        "such a name again.\n\n" + _table(("Why", "Names"), rows)
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(columns)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
