"""Write the directories that every later release must open: tests/golden/v<format version>.

    python tools/make_golden.py            # refuses to touch a version that is there
    python tools/make_golden.py --replace  # while the format is unreleased

``clean`` was closed; ``unclean`` was left by a process that died, with commits in its log;
``backup`` is a backup. ``expected.json`` says what is in them, and ``tests/golden/test_golden.py``
compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from conduitstore.engine import embedded
from conduitstore.engine.embedded.format import FORMAT_VERSION
from conduitstore.kv import Database, Transaction

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / f"v{FORMAT_VERSION}"


def fill(db: embedded.Store) -> None:
    """Several trees, one empty and one dropped, values of all sizes, counts and ids drawn."""
    for number in range(600):
        db.open_tree("number_text").insert(number.to_bytes(4), b"entry %d" % number)
    for size in (0, 1, 300, 5_000, 40_000):
        db.open_tree("size_bytes").insert(b"%d" % size, bytes(range(256)) * (size // 256 + 1))
    db.insert(b"\x00\xff", b"in the default tree")
    db.open_tree("empty")
    db.open_tree("dropped").insert(b"a", b"1")
    db.drop_tree("dropped")
    db.open_tree("merged").set_merge_operator(_append, "golden.append")
    for word in (b"a", b"b", b"c"):
        db.open_tree("merged").merge(b"word", word)
    db.checkpoint()


def _append(_key: bytes, old: bytes | None, operand: bytes) -> bytes:
    return (old or b"") + operand


def go_on(db: embedded.Store) -> None:
    """Commits that only the log has."""

    def several(tx: Transaction) -> None:
        count = tx.next_count()
        tx.open_tree("count_text").insert(count.to_bytes(8), b"counted")
        tx.open_tree("number_text").remove((7).to_bytes(4))

    for _ in range(3):
        db.transaction(several)
    db.reserve_ids(5)
    db.flush()


def describe(db: Database) -> dict[str, object]:
    """What a later release has to find."""
    return {
        "checksum": db.checksum(),
        "sequence": db.sequence,
        "count": db.current_count(),
        "next_id": 5,
        "trees": {name: len(db.open_tree(name)) for name in db.tree_names()},
    }


def _open(name: str, **settings: Any) -> embedded.Store:
    db = embedded.open(GOLDEN / name, flush_every_ms=None, **settings)
    assert isinstance(db, embedded.Store)
    return db


def make(name: str, compression_level: int, *, is_closed: bool) -> dict[str, object]:
    """One store; gives what is in it."""
    db = _open(name, compression_level=0, leaf_entries_max=64)
    fill(db)
    db.close()
    # The second half of the leaves: of the other kind.
    db = _open(name, compression_level=compression_level)
    for number in range(300):
        db.open_tree("number_text").insert(number.to_bytes(4), b"entry %d, again" % number)
    db.checkpoint()
    go_on(db)
    found = describe(db)
    if name == "clean":
        db.backup(GOLDEN / "backup")
    if is_closed:
        db.close()
    else:
        db.abandon()
    return found


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replace", action="store_true")
    if GOLDEN.exists():
        if not parser.parse_args().replace:
            parser.error(f"{GOLDEN} is there: a released format is never changed")
        shutil.rmtree(GOLDEN)
    GOLDEN.mkdir(parents=True)
    clean = make("clean", 3, is_closed=True)
    unclean = make("unclean", 3, is_closed=False)
    expected = {"clean": clean, "unclean": unclean, "backup": clean}
    for name in expected:
        (GOLDEN / name / "LOCK").write_text("")  # Who made it is nobody's business.
    text = json.dumps(expected, indent=2, sort_keys=True)
    (GOLDEN / "expected.json").write_text(text + "\n")
    print(f"{GOLDEN}: {sum(f.stat().st_size for f in GOLDEN.rglob('*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
