"""What a simulated disk makes of bytes that were overwritten and not synced."""

import pytest

from conduitstore.testing.disk import KEEPS, SECTOR_BYTES, SimulatedDisk

OLD = bytes(range(256)) * 6
BEGIN, END = 700, 1300  # of what is written over it: from within one sector to within another
NEW = b"n" * (END - BEGIN)


@pytest.fixture
def disk():
    return SimulatedDisk()


@pytest.fixture
def file(disk):
    directory = disk.make_directory("d")
    file = directory.create("f")
    file.write_at(OLD, 0)
    file.sync()
    directory.sync()
    return file


def left(disk):
    file = disk.directory("d").open("f")
    return file.read_at(0, file.size())


@pytest.mark.parametrize("keep", KEEPS)
def test_a_power_loss_spoils_only_what_was_written_again(disk, file, keep):
    for seed in range(20):
        file = disk.directory("d").open("f")
        file.write_at(NEW, BEGIN)
        disk.power_loss(seed, keep)
        found = left(disk)
        assert (found[:BEGIN], found[END:], len(found)) == (OLD[:BEGIN], OLD[END:], len(OLD))
        wanted = {"nothing": OLD[BEGIN:END], "names": OLD[BEGIN:END], "everything": NEW}
        assert found[BEGIN:END] == wanted.get(keep, found[BEGIN:END])


def test_sectors_go_their_own_ways(disk, file):
    del file
    seen = set()
    for seed in range(60):
        file = disk.directory("d").open("f")
        file.write_at(OLD[BEGIN:END], BEGIN)
        file.sync()
        file.write_at(NEW, BEGIN)
        disk.power_loss(seed, "some")
        middle = left(disk)[2 * SECTOR_BYTES : END]
        first = left(disk)[BEGIN : 2 * SECTOR_BYTES]
        seen.add((first == NEW[: len(first)], middle == NEW[: len(middle)]))
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


def test_a_synced_write_stays(disk, file):
    file.write_at(NEW, BEGIN)
    file.sync()
    disk.power_loss(1, "some")
    assert left(disk) == OLD[:BEGIN] + NEW + OLD[END:]


@pytest.mark.parametrize("how", ["clean", "half", "dropped"])
def test_what_a_failed_sync_forgot_is_written_once_it_is_new_again(disk, file, how):
    file.write_at(NEW, BEGIN)
    disk.failed_sync = how
    disk.fail = lambda operation, _name: OSError(5, "injected") if operation == "sync" else None
    with pytest.raises(OSError, match="injected"):
        file.sync()
    disk.fail = lambda _operation, _name: None
    again = b"again"
    file.write_at(again, BEGIN + 400)
    file.sync()
    disk.power_loss(keep="nothing")
    found = left(disk)
    assert found[:BEGIN] + found[END:] == OLD[:BEGIN] + OLD[END:]
    assert found[BEGIN + 400 : BEGIN + 405] == again
    assert found[BEGIN : BEGIN + 100] == (NEW if how == "half" else OLD[BEGIN:])[:100]
    assert found[BEGIN + 405 : END - 60] != NEW[405:-60]
