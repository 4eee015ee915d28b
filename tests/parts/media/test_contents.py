"""Bytes and rows agree, whoever meets and whatever dies."""

import threading
from hashlib import sha256

import pytest

import conduitstore
from conduitstore.errors import ConflictError, InvalidArgumentError
from conduitstore.files import DirectoryFiles, MemoryFiles
from conduitstore.parts.media.records import Dimensions
from conduitstore.types import Mxc

USER = "@a:one.test"
ONE, TWO, FAR = Mxc("one.test", "one"), Mxc("one.test", "two"), Mxc("far.test", "one")
SMALL, LARGE = Dimensions(32, 32), Dimensions(0xFFFF00FF, 0xFF)


def name_of(content):
    return sha256(content).hexdigest()


def test_files_are_deleted_after_their_commit_and_not_inside_one(store, put):
    content = put(b"content")
    store.media.files.create(ONE, *content)

    def purge(tx):
        tx.media.retention.purge([ONE])
        with pytest.raises(InvalidArgumentError, match="after the commit"):
            tx.media.contents.delete_files()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.transaction(purge)
    assert store.media.contents.delete_files() == 0
    assert store.media.files.get(ONE) is not None
    assert store.beside.files.size(content[0]) == 7


def test_bytes_are_put_and_read_as_long_as_a_row_speaks_of_them(store):
    contents = store.media.contents
    file, size_bytes = contents.put([b"con", b"tent"])
    assert (file, size_bytes) == (name_of(b"content"), 7) == contents.put([b"content"])
    assert contents.open(file) is None
    store.media.files.create(ONE, file, size_bytes)
    with contents.open(file) as reader:
        store.media.retention.purge([ONE])
        assert contents.open(file) is None  # Dropped, and not deleted yet.
        assert contents.delete_files() == 1
        assert reader.read() == b"content"
    with conduitstore.open(":memory:") as without:
        for call in (lambda: without.media.contents.put([b"x"]), lambda: contents.put(b"x")):
            with pytest.raises(InvalidArgumentError):
                call()


def test_a_file_that_comes_again_before_it_is_deleted_stays(store, put):
    store.media.files.create(ONE, *put(b"content"))
    store.media.retention.purge([ONE])
    file = store.media.files.upload(TWO, [b"content"])
    assert store.media.contents.delete_files() == 0
    assert store.beside.files.size(file) == 7
    store.media.retention.purge([TWO])
    assert store.media.contents.delete_files() == 1


def test_bytes_that_a_crash_left_without_a_row_are_found(store, put):
    orphan, kept = put(b"orphan"), put(b"kept")
    store.media.files.create(ONE, *kept)
    assert store.media.contents.find_orphans() == 1
    assert store.media.contents.find_orphans() == 0
    assert store.media.contents.delete_files() == 1
    assert list(store.beside.files.hashes()) == [kept[0]]
    assert store.beside.files.size(orphan[0]) is None


def test_files_the_disk_lost_are_named(store, put):
    content = put(b"content")
    store.media.files.create(ONE, *content)
    assert list(store.media.contents.missing()) == []
    store.beside.files.remove(content[0])
    assert list(store.media.contents.missing()) == [content[0]]


def test_what_was_to_be_deleted_is_deleted_by_the_next_process(tmp_path):
    files = DirectoryFiles(tmp_path / "media")
    with conduitstore.open(tmp_path / "store", media_files=files) as store:
        file = store.media.files.upload(ONE, [b"content"])
        store.media.retention.purge([ONE])
        assert files.size(file) == 7
    with conduitstore.open(tmp_path / "store", media_files=files) as store:
        assert store.media.contents.delete_files() == 1
    assert files.size(file) is None


def test_deleting_flushes_first(tmp_path):
    with conduitstore.open(tmp_path / "s", media_files=MemoryFiles(), flush_every_ms=None) as store:
        store.media.files.upload(ONE, [b"content"])
        store.media.retention.purge([ONE])
        purged, durable = store.db.sequence, []
        files = store.beside.files
        files.remove = lambda _file: durable.append(store.db.durable_sequence)
        store.media.contents.delete_files()
        assert durable
        assert durable[0] >= purged


def test_uploads_purges_and_deletions_meet_and_no_row_is_without_its_bytes(store):
    stop, failed = threading.Event(), []

    def upload(number):
        mxc = Mxc("one.test", str(number))
        for _ in range(40):
            try:
                store.media.files.upload(mxc, [b"the same bytes"])
            except ConflictError:
                continue
            except Exception as error:  # noqa: BLE001 - told by the assertion below
                failed.append(error)
            store.media.retention.purge([mxc])

    def delete():
        while not stop.is_set():
            store.media.contents.delete_files()

    uploaders = [threading.Thread(target=upload, args=(number,)) for number in range(3)]
    deleter = threading.Thread(target=delete)
    deleter.start()
    for thread in uploaders:
        thread.start()
    for thread in uploaders:
        thread.join()
    stop.set()
    deleter.join()
    assert failed == []
    file = store.media.files.upload(ONE, [b"the same bytes"])
    store.media.contents.delete_files()
    assert list(store.media.contents.missing()) == []
    assert store.media.contents.info(file) is not None
