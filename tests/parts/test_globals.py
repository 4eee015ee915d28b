"""The counter, and its row."""

import pytest

from conduitstore.ladder import load_migrations


def row(store):
    return store.db.open_tree("global").get(b"c")


def test_counts_start_at_one_and_the_row_follows(store):
    assert store.globals.current_count() == 0
    assert row(store) is None
    assert [store.globals.next_count() for _ in range(3)] == [1, 2, 3]
    assert store.globals.current_count() == 3
    assert row(store) == (3).to_bytes(8)


def test_counts_drawn_by_other_parts_are_in_the_row_too(store):
    store.rooms.members.mark_joined("@a:x", "!r:x")
    store.to_device.queue("@a:x", "@a:x", "D", "t", {})
    assert row(store) == store.globals.current_count().to_bytes(8)


def test_a_draw_that_is_rolled_back_is_skipped_and_unseen(store):
    def fail(tx):
        tx.globals.next_count()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.transaction(fail)
    assert store.globals.current_count() == 0
    assert row(store) is None
    assert store.globals.next_count() == 2


def test_the_schema_version_is_kept(store):
    assert store.globals.lineage() == "conduitstore"
    assert store.globals.schema_version() == len(load_migrations())
    store.globals.set_schema_version(7)
    assert store.globals.schema_version() == 7
