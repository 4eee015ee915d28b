"""Of a leaf, an older leaf, and records of the log on either side: which one a salvage gives."""

import copy

import msgpack
import pytest
from damaged import (
    all_gone,
    bytes_of,
    files_of,
    flipped,
    frames_of,
    leaves_of,
    open_on,
    replaced,
    salvaged,
    without_commit,
    without_frame,
)

from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import (
    FRAME_BYTES,
    HEADER_BYTES,
    FrameKind,
    decode_header,
    encode_frame,
)
from conduitstore.engine.embedded.wal import Op
from conduitstore.testing.crash import content
from conduitstore.testing.disk import SimulatedDisk

DEFAULT = "__default__"


def salvaged_for_another_leaf(disk):
    """What a salvage gives that is only made because a leaf of the tree ``beside`` is damaged."""
    beside = [leaf for leaf in leaves_of(disk) if leaf[4] == [b"beside"]]
    for name, offset, *_ in beside:
        disk = without_frame(disk, name, offset)
    assert beside
    return salvaged(disk)


def begin(disk):
    with open_on(disk) as db:
        db.open_tree("beside").insert(b"beside", b"")  # Commits 1 and 2.


# The log and leaves -------------------------------------------------------------------------------


def test_a_leaf_counts_before_an_older_record():
    disk = SimulatedDisk()
    begin(disk)
    for value in (b"old", b"new", b"newest"):  # Commits 3, 4 and 5, each in a log of its own.
        with open_on(disk) as db:
            db.insert(b"a", value)
            db.insert(value, b"")
    found, report = salvaged_for_another_leaf(without_commit(without_commit(disk, 5), 7))
    assert dict(found[DEFAULT])[b"a"] == b"newest"
    assert found["beside"] == [(b"beside", b"")], "the log has what the leaf had"
    assert report.commits_lost == 0, "the leaves have what the log has not"


def test_a_removal_counts_before_an_older_record():
    disk = SimulatedDisk()
    begin(disk)
    with open_on(disk) as db:
        db.insert(b"a", b"1")
        db.insert(b"b", b"1")
    with open_on(disk) as db:
        db.remove(b"a")
    found, _ = salvaged_for_another_leaf(without_commit(disk, 5))
    assert found[DEFAULT] == [(b"b", b"1")]


def test_a_record_counts_before_an_older_leaf():
    disk = SimulatedDisk()
    begin(disk)
    with open_on(disk) as db:
        for key in (b"a", b"b", b"c"):
            db.insert(key, b"1")
    db = open_on(disk)
    db.insert(b"a", b"2")
    db.remove(b"b")
    disk.kill()
    found, _ = salvaged_for_another_leaf(disk)
    assert found[DEFAULT] == [(b"a", b"2"), (b"c", b"1")]


def test_only_what_no_leaf_and_no_record_has_is_lost():
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    for key in (b"a", b"b", b"c", b"d"):  # Commits 3 to 6.
        db.insert(key, b"1")
    disk.kill()
    found, report = salvaged_for_another_leaf(without_commit(without_commit(disk, 4), 5))
    assert found[DEFAULT] == [(b"a", b"1"), (b"d", b"1")]
    assert report.commits_lost == 2
    assert report.sequence == 6


def test_a_history_whose_beginning_nobody_knows_lacks_nothing_before_it():
    disk = SimulatedDisk()
    begin(disk)
    with open_on(disk, log_keep_bytes=0) as db:
        db.checkpoint()
        db.checkpoint()
    db = open_on(disk, log_keep_bytes=0)
    db.insert(b"a", b"1")
    disk.kill()
    assert len([f for log in files_of(disk, names.LOG) for f in frames_of(disk, log)]) == 1
    found, report = salvaged(all_gone(disk, names.MANIFEST), log_keep_bytes=0)
    assert found[DEFAULT] == [(b"a", b"1")]
    assert report.commits_lost == 0


def test_a_second_salvage_counts_what_is_lost_since_the_first():
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    for number in range(6):
        db.insert(b"%d" % number, b"1")
        db.flush()  # So that the record says that those before it were on the platter.
    disk.kill()
    disk = without_commit(disk, 4)
    with open_on(disk, recover="salvage") as db:
        assert db.recovery_report.commits_lost == 1
        first = db.sequence
        assert first > 1 << 32
    db = open_on(disk)
    for number in range(6, 10):
        db.insert(b"%d" % number, b"1")
        db.flush()
    disk.kill()
    found, report = salvaged(without_commit(disk, first + 2))
    assert report.commits_lost == 1
    assert [key for key, _ in found[DEFAULT]] == [b"%d" % n for n in range(10) if n not in (1, 7)]


def test_a_gap_that_a_recovery_left_is_no_loss():
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    for number in range(3):
        db.insert(b"%d" % number, b"1")
        db.flush()
    disk.kill()
    with open_on(without_commit(disk, 4), recover="prefix") as db:
        assert db.recovery_report.commits_lost == 2
        db.insert(b"a", b"1")
        disk = db.filesystem
    assert files_of(disk, names.LOG)
    _, report = salvaged(all_gone(disk, names.MANIFEST))
    assert report.commits_lost < 3


def test_the_sequence_goes_on_above_what_only_manifests_tell_of():
    disk = SimulatedDisk()
    begin(disk)
    disk = all_gone(disk, names.MANIFEST)
    with open_on(disk, recover="salvage") as db:
        db.insert(b"a", b"1")
        db.checkpoint()
        newest = db.sequence
        assert newest > 1 << 32
    disk = all_gone(disk, names.LOG)
    name = files_of(disk, names.MANIFEST)[-1]
    assert frames_of(disk, name)[0].kind == FrameKind.WHOLE
    with open_on(without_frame(disk, name, HEADER_BYTES), recover="salvage") as db:
        assert db.recovery_report.mode == "salvage"
        assert db.sequence > newest


# An end that was cut ------------------------------------------------------------------------------


def cut_and_gone_on():
    """A log that ended in a torn commit and one behind it, cut; and another history since."""
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    db.insert(b"kept", b"")  # Commit 3.
    db.flush()
    db.insert(b"torn", b"")
    db.insert(b"behind", b"")
    disk.kill()
    disk = without_commit(disk, 4)
    with open_on(disk) as db:
        assert db.recovery_report.cuts
        for key in (b"other", b"history", b"since"):  # Commits 4 to 6.
            db.insert(key, b"")
        expected = content(db)
    assert [key for key, _ in expected[DEFAULT]] == [b"history", b"kept", b"other", b"since"]
    return disk, expected


def newest_leaf_gone(disk):
    name, offset, *_ = [leaf for leaf in leaves_of(disk) if leaf[2] == 0][-1]
    return without_frame(disk, name, offset)


def test_what_was_cut_does_not_come_back():
    disk, expected = cut_and_gone_on()
    found, _ = salvaged(newest_leaf_gone(disk))
    assert found == expected
    found, _ = salvaged(all_gone(disk, names.MANIFEST))
    assert found == expected


def test_where_the_cut_cannot_be_told_nothing_before_it_is_lost():
    disk, _ = cut_and_gone_on()
    disk = newest_leaf_gone(newest_leaf_gone(disk))
    last = [name for name in files_of(disk, names.LOG) if frames_of(disk, name)][-1]
    payload = frames_of(disk, last)[0].offset + FRAME_BYTES
    # Neither the header of the next file nor its first commit says where it began.
    found, _ = salvaged(flipped(flipped(disk, last, 30), last, payload))
    assert (b"kept", b"") in found[DEFAULT]


# Trees that were dropped --------------------------------------------------------------------------


def test_records_of_a_tree_that_was_dropped_make_none():
    disk = SimulatedDisk()
    begin(disk)
    with open_on(disk) as db:
        db.open_tree("gone").insert(b"a", b"1")  # Commits 3 and 4.
        db.insert(b"k", b"v")
        db.checkpoint()
        db.drop_tree("gone")  # Commit 6.
    expected = {DEFAULT: [(b"k", b"v")], "beside": [(b"beside", b"")]}
    assert [leaf for leaf in leaves_of(disk) if leaf[4] == [b"a"]], "its leaf is still there"
    disk = without_commit(disk, 6)
    found, _ = salvaged_for_another_leaf(disk)
    assert found == expected
    # A manifest that is not whole may know of trees that are newer, not of older ones.
    manifest = files_of(disk, names.MANIFEST)[-1]
    disk = replaced(disk, manifest, bytes_of(disk, manifest) + b"torn")
    found, _ = salvaged_for_another_leaf(disk)
    assert found == expected


def test_a_name_belongs_to_the_tree_that_was_made_last():
    disk = SimulatedDisk()
    with open_on(disk) as db:
        db.open_tree("name").insert(b"a", b"before")  # Commits 1 and 2.
        db.drop_tree("name")
        db.open_tree("name").insert(b"a", b"since")
    found, _ = salvaged(all_gone(without_commit(disk, 3), names.MANIFEST))
    assert found["name"] == [(b"a", b"since")]
    assert found["salvaged_1"] == [(b"a", b"before")], "that it was dropped is lost"


def test_a_tree_made_behind_the_newest_generation_is_made_whatever_is_left_of_it():
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    db.open_tree("new").insert(b"a", b"1")  # Commits 3 and 4.
    disk.kill()
    found, _ = salvaged_for_another_leaf(disk)
    assert found["new"] == [(b"a", b"1")]
    found, _ = salvaged_for_another_leaf(without_commit(disk, 3))
    assert found["salvaged_2"] == [(b"a", b"1")]


def with_commits(disk, *commits):
    """A disk with more commits behind those of its newest log: they verify, whatever they say."""
    name = files_of(disk, names.LOG)[-1]
    data = bytes_of(disk, name)
    for commit in commits:
        seed = decode_header(data, name, b"L").seed
        data += encode_frame(seed, len(data), FrameKind.COMMIT, msgpack.packb(commit))
    return replaced(disk, name, data)


@pytest.mark.parametrize(
    "commits",
    [
        [[8, 0, 0, 2, Op.DROP, None], [9, 0, 0, 2, Op.DROP, None]],
        [[8, 0, 0, 2, Op.DROP, None], [9, 0, 0, 2, b"k", b"v"]],
        [[8, 0, 0, 2, Op.DROP, None, 2, b"k", b"v", 2, Op.DROP, None]],
        [[8, 0, 0, 9, Op.DROP, None]],
        [[8, 0, 0, 9, Op.CREATE, "__default__"], [9, 0, 0, 9, b"k", b"v"]],
        [[8, 0, 0, 0, Op.CREATE, "zero"], [9, 0, 0, 0, b"k", b"v"]],
        [[8, 0, 0, 9, Op.CREATE, "beside"]],
    ],
    ids=str,
)
def test_no_order_of_dropping_and_writing_stops_a_salvage(commits):
    disk = SimulatedDisk()
    begin(disk)
    db = open_on(disk)
    db.open_tree("new").insert(b"a", b"1")
    disk.kill()
    found, _ = salvaged_for_another_leaf(with_commits(disk, *commits))
    assert [(b"beside", b"")] in found.values()
    assert ("new" in found) == (commits[0][3] != 2)
    assert DEFAULT in found


# Leaves and leaves --------------------------------------------------------------------------------


def made_and_changed(change, **settings):
    """A tree of six keys in one leaf, a newer generation with ``change`` made, and no logs."""
    disk = SimulatedDisk()
    settings = {"leaf_entries_max": 6, "log_keep_bytes": 0} | settings
    with open_on(disk, **settings) as db:
        db.transaction(lambda tx: [tx.insert(bytes([n]), b"old") for n in range(6)])
        db.checkpoint()
        before = leaves_of(disk)
        change(db)
        expected = content(db)[DEFAULT]
    there = leaves_of(disk)
    assert all(leaf in there for leaf in before), "the older leaves are kept"
    return all_gone(disk, names.LOG), expected


def test_what_shares_keys_with_a_newer_leaf_was_replaced_as_a_whole():
    def change(db):
        for key in (b"\0", b"\1", b"\5"):
            db.remove(key)

    disk, expected = made_and_changed(change)
    manifest = files_of(disk, names.MANIFEST)[-1]
    for damaged in (
        all_gone(disk, names.MANIFEST),
        replaced(disk, manifest, bytes_of(disk, manifest) + b"torn"),
    ):
        found, _ = salvaged(damaged)
        assert found[DEFAULT] == expected, "the removed ones at the ends stay removed"


def split(db):
    db.insert(b"\2\2", b"new")


def halves(disk):
    """Both leaves that the first one was split into."""
    newest = leaves_of(disk)[-1][3]
    left, right = [leaf for leaf in leaves_of(disk) if leaf[3] == newest]
    assert max(left[4]) < min(right[4])
    return left, right


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_part_of_an_older_leaf_counts_where_the_newer_one_is_damaged(has_manifest):
    disk, expected = made_and_changed(split)
    for lost, other in (halves(disk), halves(disk)[::-1]):
        damaged = copy.deepcopy(disk) if has_manifest else all_gone(disk, names.MANIFEST)
        found, _ = salvaged(without_frame(damaged, *lost[:2]))
        rows = dict(found[DEFAULT])
        assert all(rows[key] == value for key, value in expected if key in other[4])
        assert all(rows[key] == b"old" for key in lost[4] if len(key) == 1)


def test_a_part_of_an_older_leaf_counts_where_the_file_of_the_newer_one_is_missing():
    disk, expected = made_and_changed(split, segment_bytes_target=1)
    for lost, other in (halves(disk), halves(disk)[::-1]):
        found, _ = salvaged(replaced(disk, lost[0], None))
        rows = dict(found[DEFAULT])
        assert all(rows[key] == value for key, value in expected if key in other[4])
        assert all(rows[key] == b"old" for key in lost[4] if len(key) == 1)
