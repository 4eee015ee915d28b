"""Bytes flipped, files cut and taken away: what each way of opening makes of it.

- strict: everything, up to the unpromised end of the log; or an error with a type.
- prefix: what the store was after some commit, whole; or an error with a type.
- salvage: always opens, and no key has a value that it never had.
- None gives a count or an id out twice.
"""

import copy
import os

import pytest
from damaged import bytes_of, flipped, killed, open_on, replaced
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine.embedded import names
from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.testing.crash import content
from conduitstore.testing.report import tally

LIVED = killed()
NEWEST = max(LIVED.states)
PROMISED = 28  # The commits up to here were on the platter, as a later one says.
FILES = [name for name in LIVED.disk.directory("store").names() if names.parse(name)]
EVERY = int(os.environ.get("RECOVERY_EVERY", "13"))


def check_numbers(db):
    """Nothing is given out twice, and tokens do not go back."""
    assert db.current_count() >= LIVED.count
    assert db.transaction(lambda tx: tx.next_count()) > LIVED.count
    assert not set(LIVED.ids).intersection(db.reserve_ids(5))


def check_goes_on(disk, db):
    """The store takes writes, closes, and opens strictly, whole."""
    try:
        db.insert(b"after", b"the damage")
        kept = content(db)
    except CorruptedError:  # Of a leaf, which strict and prefix leave to repair.
        return
    db.close()
    with open_on(disk) as again:
        assert content(again) == kept
        assert again.recovery_report.mode == "strict"
        assert not again.was_recovered
        if any(map(names.is_set_aside, disk.directory("store").names())):
            assert [damage for damage in again.verify() if damage.tree is not None] == []


def check_strict(disk, promised=PROMISED):
    try:
        db = open_on(disk)
        found = content(db)
    except ConduitStoreError:
        return
    assert db.sequence >= promised
    assert found == LIVED.states[db.sequence]


def check_prefix(disk, promised=PROMISED):
    before = {name: bytes_of(disk, name) for name in disk.directory("store").names()}
    try:
        db = open_on(disk, recover="prefix")
    except ConduitStoreError as error:
        assert "salvage" in str(error)  # noqa: PT017 - one of two ways to be right
        del before[names.LOCK]
        assert {name: bytes_of(disk, name) for name in before} == before
        return
    report = db.recovery_report
    try:
        assert content(db) == LIVED.states[report.sequence]
    except CorruptedError as error:  # Leaves are left to repair, and to salvage.
        assert error.file.startswith(names.SEGMENT)  # noqa: PT017 - one of two ways to be right
    if report.mode == "strict":
        assert report.sequence >= promised
    else:
        assert db.sequence > (1 << 32) > report.sequence
        assert db.current_count() > 1 << 32
        check_numbers(db)
    check_goes_on(disk, db)


def check_salvage(disk, *, is_cut=False):
    db = open_on(disk, recover="salvage")
    if not is_cut:  # A manifest that ends behind a whole frame never promised what is cut off.
        check_numbers(db)
    found = content(db)
    for tree, rows in found.items():
        for key, value in rows:
            if tree.startswith("salvaged_"):
                assert any(value in values for values in LIVED.written.values())
            else:
                assert value in LIVED.written[tree, key]
    assert list(db.verify()) == [] or db.recovery_report.mode == "strict"
    check_goes_on(disk, db)
    return found


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte(name):
    places = range(0, len(bytes_of(LIVED.disk, name)), EVERY)
    tally("damage swept over a store", len(places))
    for at in places:
        disk = flipped(LIVED.disk, name, at)
        for check in (check_strict, check_prefix, check_salvage):
            check(flipped(LIVED.disk, name, at))
        if not name.startswith(names.LOG):
            # All of this has a second copy in what a salvage reads.
            assert check_salvage(disk) == LIVED.states[NEWEST]


@pytest.mark.parametrize("name", FILES)
def test_no_cut(name):
    data = bytes_of(LIVED.disk, name)
    sizes = range(0, len(data), 7 * EVERY)
    tally("damage swept over a store", len(sizes))
    for size in sizes:
        # What is cut off a log promises nothing any more.
        check_strict(replaced(LIVED.disk, name, data[:size]), promised=0)
        check_prefix(replaced(LIVED.disk, name, data[:size]), promised=0)
        check_salvage(replaced(LIVED.disk, name, data[:size]), is_cut=True)


@pytest.mark.parametrize("name", FILES)
def test_no_file_taken_away(name):
    tally("damage swept over a store", 1)
    check_prefix(replaced(LIVED.disk, name, None), promised=0)
    check_salvage(replaced(LIVED.disk, name, None))


places = st.lists(
    st.sampled_from(FILES).flatmap(
        lambda name: st.tuples(
            st.just(name), st.integers(0, len(bytes_of(LIVED.disk, name)) - 1), st.booleans()
        )
    ),
    min_size=2,
    max_size=6,
)


@given(places)
def test_several_damages_at_once(damages):
    disk = LIVED.disk
    tally("damage swept over a store", len(damages))
    for name, at, is_cut in damages:
        data = bytes_of(disk, name)
        disk = replaced(disk, name, data[:at]) if is_cut else (
            flipped(disk, name, at) if at < len(data) else disk
        )  # fmt: skip
    check_strict(copy.deepcopy(disk), promised=0)
    check_prefix(copy.deepcopy(disk), promised=0)
    check_salvage(disk, is_cut=any(is_cut for _, _, is_cut in damages))
