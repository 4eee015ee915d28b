"""``docs/format`` against the code that it describes."""

import re
from dataclasses import fields

import pytest

from conduitstore.engine import stream
from conduitstore.engine.embedded import format as f
from conduitstore.engine.embedded.manifest import Generation
from conduitstore.engine.embedded.wal import Op
from conduitstore.engine.postgres import sql
from conduitstore.schema import TREES


def table(page, heading):
    """Rows of the first table behind a line of the page."""
    text = page.read_text().split(heading, 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE).group().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.fixture
def pages(root):
    return root / "docs" / "format"


@pytest.mark.parametrize(
    ("heading", "total"), [("## Header", f.HEADER_BYTES), ("## Frame", f.FRAME_BYTES)]
)
def test_fields_follow_each_other_without_a_gap(pages, heading, total):
    end = 0
    for offset, size, *_ in table(pages / "README.md", heading):
        assert int(offset) == end
        end += int(size)
    assert end == total


@pytest.mark.parametrize(
    ("heading", "total"),
    [
        ("## Header of a stream", stream.STREAM_HEADER_BYTES),
        ("## Chunk", stream.CHUNK_BYTES),
        ("## End", stream.END.size),
    ],
)
def test_fields_of_a_stream_follow_each_other_without_a_gap(pages, heading, total):
    end = 0
    for offset, size, *_ in table(pages / "stream.md", heading):
        assert int(offset) == end
        end += int(size)
    assert end == total


def test_a_stream_is_as_it_is_drawn(pages):
    header = {row[2]: row for row in table(pages / "stream.md", "## Header of a stream")}
    assert header["magic"][3] == f"`{stream.STREAM_MAGIC.hex(' ')}`"
    assert header["version"][3] == str(stream.STREAM_VERSION)
    chunk = {row[2]: row for row in table(pages / "stream.md", "## Chunk")}
    kinds = ", ".join(f"{kind.value} {kind.name.lower()}" for kind in stream.ChunkKind)
    assert chunk["kind"][3] == kinds
    ends = [row[2].replace(" ", "_") for row in table(pages / "stream.md", "## End")]
    assert tuple(ends) == stream.End._fields


def test_magic_marker_version_and_kinds(pages):
    header = {row[2]: row for row in table(pages / "README.md", "## Header")}
    frame = {row[2]: row for row in table(pages / "README.md", "## Frame")}
    assert header["magic"][3] == f"`{f.MAGIC.hex(' ')}`"
    assert header["format version"][3] == str(f.FORMAT_VERSION)
    assert frame["marker"][3] == f"`{f.MARKER.hex(' ')}`"
    kinds = ", ".join(f"{kind.value} {kind.name.lower()}" for kind in f.FrameKind)
    assert frame["kind"][3] == kinds
    manifest = [row[0] for row in table(pages / "manifest.md", "appended, and synced")]
    assert manifest == [
        f"{kind.value} {kind.name.lower()}"
        for kind in (f.FrameKind.WHOLE, f.FrameKind.CHANGES, f.FrameKind.CEILINGS)
    ]


def test_operations_on_trees(pages):
    rows = table(pages / "log.md", "Operations on a whole tree")
    assert [(int(row[0]), row[1]) for row in rows] == [(op.value, op.name.lower()) for op in Op]


def test_a_generation_has_these_fields(pages):
    rows = table(pages / "manifest.md", "A generation is a map")
    assert [row[0].strip("`") for row in rows] == [field.name for field in fields(Generation)]


def test_examples_of_keys(pages):
    rows = table(pages / "keys.md", "Each example is a test")
    assert len(rows) > 5
    for tree, values, key in rows:
        shape = TREES[tree.strip("`")].key
        texts = [value.strip("`") for value in values.split(", ")]
        expected = bytes.fromhex(key.strip("`"))
        numbers = {"count", "short_room", "position"}
        parsed = [
            int(text) if field in numbers else text
            for field, text in zip(shape.fields, texts, strict=True)
        ]
        assert shape.pack(*parsed) == expected
        assert shape.unpack(expected) == tuple(parsed)


def test_the_tables_of_a_store_in_a_database_are_as_they_are_drawn(pages):
    made = dict(
        re.findall(r"CREATE (?:\{unlogged\} )?TABLE (\w+) \((.*?)\);", sql.CREATE, re.DOTALL)
    )
    columns = {
        name: [column.split()[0] for column in text.replace("\n", " ").split(", ")]
        for name, text in made.items()
    }
    drawn = {
        row[0].strip("`"): re.findall(r"`(\w+)`", row[1])
        for row in table(pages / "postgres.md", "Nothing else may")
    }
    columns["t_<id>"] = columns.pop("t_0")
    assert drawn == columns
    assert f"format {sql.FORMAT_VERSION}" in (pages / "postgres.md").read_text()
