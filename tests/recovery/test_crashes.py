"""A crash in every call of a recovery that may lose something: it can be done again."""

import copy
import errno

import pytest
from damaged import bytes_of, flipped, killed, open_on, replaced
from effort import EFFORT

from conduitstore.engine.embedded import names
from conduitstore.errors import ConduitStoreError
from conduitstore.testing.crash import aftermaths, content
from conduitstore.testing.disk import KEEPS, SimulatedCrash
from conduitstore.testing.report import tally

LIVED = killed()
LOG = LIVED.files(names.LOG)[-1]
MANIFEST = LIVED.files(names.MANIFEST)[-1]
SEGMENTS = LIVED.files(names.SEGMENT)
DAMAGES = {
    "log": ("prefix", lambda disk: flipped(disk, LOG, 200)),
    "log missing": ("prefix", lambda disk: replaced(disk, LOG, None)),
    "manifest header": ("prefix", lambda disk: flipped(disk, MANIFEST, 30)),
    "leaf": (
        "prefix",
        lambda disk: flipped(disk, SEGMENTS[-1], len(bytes_of(disk, SEGMENTS[-1])) - 5),
    ),
    "log, salvaged": ("salvage", lambda disk: flipped(disk, LOG, 200)),
    "manifest": ("salvage", lambda disk: flipped(disk, MANIFEST, 90)),
    "manifest missing": ("salvage", lambda disk: replaced(disk, MANIFEST, None)),
    "segment": ("salvage", lambda disk: flipped(disk, SEGMENTS[0], 500)),
    "segment header": ("salvage", lambda disk: flipped(disk, SEGMENTS[0], 30)),
    "several": (
        "salvage",
        lambda disk: flipped(flipped(flipped(disk, SEGMENTS[0], 500), LOG, 200), MANIFEST, 90),
    ),
}


def files(disk):
    directory = disk.directory("store")
    return {name: bytes_of(disk, name) for name in directory.names() if names.parse(name)}


def check_kept(disk, damaged):
    """Every file that was damaged is there under one name or the other."""
    for name, data in damaged.items():
        if data != bytes_of(LIVED.disk, name):
            there = {n: bytes_of(disk, n) for n in disk.directory("store").names()}
            assert data in (there.get(name), there.get(name + names.DAMAGED)), name


def check(disk, mode, expected, damaged):
    """What is left of a recovery that was cut short, by a strict open and by another try."""
    strict = copy.deepcopy(disk)
    try:
        found = content(open_on(strict))
    except ConduitStoreError:
        pass
    else:
        assert found == expected or mode == "salvage"
        check_kept(strict, damaged)
        assert not files(strict).keys() & {
            name.removesuffix(names.DAMAGED)
            for name in strict.directory("store").names()
            if names.is_set_aside(name)
        }
    with open_on(disk, recover=mode) as db:
        assert content(db) == expected
        assert db.current_count() >= LIVED.count
        assert not set(LIVED.ids).intersection(db.reserve_ids(3))
        check_kept(disk, damaged)
        db.insert(b"goes", b"on")
        kept = content(db)
    with open_on(disk) as db:
        assert content(db) == kept
        assert not db.was_recovered
        assert [d for d in db.verify() if d.tree is not None] == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_call_of_a_recovery(kind):
    mode, spoil = DAMAGES[kind]
    struck = spoil(LIVED.disk)
    damaged = files(struck)
    whole = copy.deepcopy(struck)
    with open_on(whole, recover=mode) as db:
        is_mended = kind in ("leaf", "segment header")  # Nothing is lost, nor kept to look at.
        assert db.recovery_report.mode == ("strict" if is_mended else mode)
        assert bool(db.recovery_report.mended) == is_mended
        expected = content(db)
    damaged = {} if is_mended else damaged
    check_kept(whole, damaged)
    at = crashes_total = 0
    while True:
        at += 3 if EFFORT == 1 else 1
        disk = copy.deepcopy(struck)
        disk.crash_at = at
        try:
            open_on(disk, recover=mode)
        except SimulatedCrash:
            pass
        else:
            break
        for aftermath in aftermaths((1, 2, 3)):
            after = copy.deepcopy(disk)
            aftermath.strike(after)
            crashes_total += 1
            try:
                check(after, mode, expected, damaged)
            except Exception as error:
                error.add_note(f"crashed at call {at}, {aftermath.name}")
                raise
    tally("crashes of lossy recoveries", crashes_total)
    assert at > 10


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_every_call_fails(mode, code):
    """An error instead of a crash: it is raised, and the next try does it all."""
    struck = flipped(LIVED.disk, LOG, 200)
    with open_on(copy.deepcopy(struck), recover=mode) as db:
        expected = content(db)
    at = failed_total = 0
    while failed_total == at:
        at += 1
        disk = copy.deepcopy(struck)
        left = [at]

        def fail(_operation, _name, left=left):
            left[0] -= 1
            return OSError(code, "injected") if left[0] == 0 else None

        disk.fail = fail
        try:
            db = open_on(disk, recover=mode)
        except (ConduitStoreError, OSError):
            db = None
        if left[0] > 0:
            break
        failed_total += 1
        disk.fail = lambda _operation, _name: None
        if db is None:
            disk.kill()
            db = open_on(disk, recover=mode)
        assert content(db) == expected
        db.close()
        with open_on(disk) as again:
            assert content(again) == expected
    tally("errors in lossy recoveries", failed_total)
    assert failed_total > 12


@pytest.mark.parametrize("kind", ["log", "manifest"])
def test_what_has_no_second_name_is_kept_all_the_same(kind):
    """A file system without links, and the power goes when all is done."""
    mode, spoil = DAMAGES[kind]
    struck = spoil(LIVED.disk)
    damaged = files(struck)
    for keep in KEEPS:
        disk = copy.deepcopy(struck)
        disk.fail = lambda operation, _: (
            OSError(errno.EPERM, "no links here") if operation == "link" else None
        )
        open_on(disk, recover=mode)
        disk.power_loss(keep=keep)
        tally("crashes of lossy recoveries", 1)
        for _ in range(2):
            with open_on(disk, log_keep_bytes=0) as db:
                db.insert(b"goes", b"on")
                db.checkpoint()
        check_kept(disk, damaged)


@pytest.mark.parametrize("mode", ["prefix", "salvage"])
def test_where_there_are_no_links_files_are_renamed(mode):
    disk = flipped(LIVED.disk, LOG, 200)
    data = bytes_of(disk, LOG)
    disk.fail = lambda operation, _: (
        OSError(errno.EPERM, "no links here") if operation == "link" else None
    )
    open_on(disk, recover=mode).close()
    assert LOG not in files(disk)
    assert bytes_of(disk, LOG + names.DAMAGED) == data
    with open_on(disk) as db:
        assert list(db.verify()) == []
