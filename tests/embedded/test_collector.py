"""Python's cyclic collector is off while a store is read, and as it was afterwards."""

import gc

import pytest

from conduitstore.engine import embedded
from conduitstore.errors import CorruptedError
from conduitstore.testing.damage import cut, disk_of, image_of
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def collector():
    """Whatever a test does with it, it is on again afterwards."""
    yield
    gc.enable()


@pytest.fixture
def disk():
    """With a store on it, closed."""
    disk = SimulatedDisk()
    with embedded.open("store", files=disk) as db:
        db.insert(b"a", b"1")
    return disk


@pytest.mark.parametrize("how", [{}, {"read_only": True}])
def test_the_collector_rests_while_a_store_is_read(disk, how, collector):
    seen = []
    disk.fail_reads = lambda operation, name: seen.append((operation, name, gc.isenabled()))
    embedded.open("store", files=disk, **how).close()
    of_manifest = [is_on for kind, name, is_on in seen if kind == "read" and "manifest" in name]
    assert not of_manifest[-1], "the first read is of its header"
    assert gc.isenabled()
    gc.disable()
    embedded.open("store", files=disk, **how).close()
    assert not gc.isenabled(), "it was not the store that turned it off"


def test_the_collector_is_on_again_when_nothing_could_be_opened(disk, collector):
    image = image_of(disk.directory("store"))
    (manifest,) = [name for name in image if "manifest" in name]
    with pytest.raises(CorruptedError):
        embedded.open("store", files=disk_of(cut(manifest, 80)(image)))
    assert gc.isenabled()
