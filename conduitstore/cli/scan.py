"""`conduitstore scan`: the rows of one tree, decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click

from conduitstore import engine
from conduitstore.codec.keys import decode_destination
from conduitstore.codec.values import pack_text
from conduitstore.errors import CorruptedError
from conduitstore.kv import Item, Keyspace
from conduitstore.schema import TREES, decode_key, decode_value
from conduitstore.types import Destination

from .display import Screen, bytes_text
from .options import existing_store, store_option


@click.command()
@click.argument("tree")
@click.argument("prefix", default="")
@store_option
@click.option("--limit", default=50, type=click.IntRange(min=0), help="Rows at most.")
@click.option("--reverse", is_flag=True, help="Last row first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
def scan(
    tree: str, prefix: str, path: Path | str, limit: int, *, reverse: bool, as_json: bool
) -> None:
    """Show the rows of TREE, keys and values decoded by the schema.

    PREFIX is the leading fields of the key as text, whole and joined by "/", as in
    "@a:example.org/DEVICE"; write a "/" inside a field as "%2F". Fields are listed by `trees` and
    shown as the column heads. A row that does not fit the schema is shown as bytes.
    """
    with engine.open(existing_store(path), read_only=True) as db, db.snapshot() as view:
        if tree not in view.tree_names():
            raise click.ClickException(f"the store has no tree {tree!r}")
        rows = _scan(view, tree, prefix, limit, reverse=reverse)
        if as_json:
            for key, value in rows:
                row = {"key": key, "value": value}
                click.echo(json.dumps(row, ensure_ascii=True, default=str))
        else:
            fields = TREES[tree].key.fields if tree in TREES else ("key",)
            Screen().table((*fields, "value"), [_cells(fields, *row) for row in rows])


def _scan(
    view: Keyspace, tree: str, prefix: str, limit: int, *, reverse: bool
) -> Iterator[tuple[dict[str, Any], Any]]:
    start = prefix_bytes(tree, prefix)
    for item in view.open_tree(tree).scan_prefix(start, reverse=reverse, limit=limit):
        yield _decoded(tree, item)


def prefix_bytes(tree: str, prefix: str) -> bytes:
    """The bytes of a prefix given as text; of a tree without a schema, the text itself."""
    if tree not in TREES:
        return pack_text(prefix)
    components = [unquote(component) for component in prefix.split("/")] if prefix else []
    kinds = TREES[tree].key.kinds
    if len(components) > len(kinds):
        raise click.ClickException(
            f"the keys of {tree} have the fields {' / '.join(TREES[tree].key.fields)}"
        )
    return TREES[tree].key.prefix(
        *(
            _READERS.get(kind, str)(component)
            for component, kind in zip(components, kinds, strict=False)
        )
    )


def _number(component: str) -> int:
    try:
        return int(component)
    except ValueError:
        raise click.ClickException(f"this field is a number, not {component!r}") from None


def _destination(component: str) -> Destination:
    """``+appservice``, ``$user pushkey``, or a server's name."""
    raw = pack_text(component)
    if raw.startswith(b"$"):
        raw = raw.replace(b" ", b"\xff", 1)
    return decode_destination(raw)


_READERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("u64", "u32", "position", "queued"), _number),
    "destination": _destination,
}


def _decoded(tree: str, item: Item) -> tuple[dict[str, Any], Any]:
    key, value = item
    if tree not in TREES:
        return {"key": bytes_text(key)}, bytes_text(value)
    try:
        return decode_key(tree, key), decode_value(tree, value)
    except CorruptedError:
        return {"key": bytes_text(key)}, bytes_text(value)


def _cells(fields: tuple[str, ...], key: dict[str, Any], value: Any) -> list[str]:
    keys = [str(part) for part, _ in zip_longest(key.values(), fields, fillvalue="")]
    return [*keys, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
