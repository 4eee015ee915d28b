"""Files under the name of their hash: whole or not there, whoever writes and whatever fails."""

import errno
import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

import conduitstore
from conduitstore.errors import InvalidArgumentError, StoreFullError
from conduitstore.files import DirectoryFiles, MemoryFiles


@pytest.fixture(params=["directory", "memory"])
def files(request, tmp_path):
    return DirectoryFiles(tmp_path / "media") if request.param == "directory" else MemoryFiles()


def name_of(content):
    return sha256(content).hexdigest()


def read(files, name):
    with files.open(name) as file:
        return file.read()


@pytest.mark.parametrize("content", [b"", b"x", os.urandom(300_000)])
def test_what_is_put_is_read_back(files, content):
    pieces = [content[:100], b"", content[100:]]
    name, size_bytes = files.put(iter(pieces))
    assert (name, size_bytes) == (name_of(content), len(content))
    assert read(files, name) == content
    assert files.size(name) == len(content)
    assert list(files.hashes()) == [name]
    assert files.put([content]) == (name, len(content))
    assert list(files.hashes()) == [name]


def test_what_is_removed_is_gone_but_for_who_reads_it(files):
    name, _ = files.put([b"content"])
    with files.open(name) as reader:
        assert files.remove(name)
        assert reader.read() == b"content"
    assert files.open(name) is None
    assert files.size(name) is None
    assert not files.remove(name)
    assert list(files.hashes()) == []


@pytest.mark.parametrize("bad", ["", "../../secret", "A" * 64, "a" * 63, "a" * 65, 5, None, b"a"])
def test_only_a_hash_names_a_file(files, bad):
    for call in (files.open, files.size, files.remove):
        with pytest.raises(InvalidArgumentError):
            call(bad)


@pytest.mark.parametrize("bad", [b"whole", ["text"], [b"fine", None]])
def test_content_is_pieces_of_bytes_and_leaves_nothing_otherwise(files, bad, tmp_path):
    with pytest.raises(InvalidArgumentError):
        files.put(bad)
    assert list(files.hashes()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_reader_of_a_client_that_fails_leaves_nothing(files, tmp_path):
    def broken():
        yield b"the first half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        files.put(broken())
    assert list(files.hashes()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, call):
    files = DirectoryFiles(tmp_path / "media")

    def full(*_args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StoreFullError):
        files.put([b"content"])
    monkeypatch.undo()
    assert list(files.hashes()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert files.put([b"content"])[1] == 7


def test_a_file_is_synced_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    files, calls = DirectoryFiles(tmp_path / "media"), []
    fsync, rename = os.fsync, os.rename

    def synced(fd):
        calls.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    def renamed(old, new, **_):
        calls.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    name, _ = files.put([b"content"])
    root, at = str(tmp_path / "media"), calls.index("rename")
    assert calls[0].startswith(f"{root}/unfinished/")
    assert calls[at + 1 :] == [f"{root}/{name[:2]}/{name[2:4]}"]
    assert {root, f"{root}/{name[:2]}"} <= set(calls[:at])  # The new directories' own names.


def test_a_directory_of_conduit_is_one_of_ours(tmp_path):
    name = name_of(b"content")
    path = tmp_path / name[:2] / name[2:4] / name[4:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    files = DirectoryFiles(tmp_path)
    assert list(files.hashes()) == [name]
    assert read(files, name) == b"content"


def test_putting_again_mends_what_was_damaged(tmp_path):
    files = DirectoryFiles(tmp_path)
    name, _ = files.put([b"content"])
    (tmp_path / name[:2] / name[2:4] / name[4:]).write_bytes(b"con")
    files.put([b"content"])
    assert read(files, name) == b"content"


def test_what_dead_writers_left_is_removed_when_it_is_old(tmp_path):
    files = DirectoryFiles(tmp_path)
    leftover = tmp_path / "unfinished" / "tmp1"
    leftover.write_bytes(b"half")
    assert files.remove_unfinished() == 0
    os.utime(leftover, (1, 1))
    assert files.remove_unfinished() == 1
    assert not leftover.exists()
    assert list(files.hashes()) == []


def test_many_threads_put_the_same_and_other_files(files):
    contents = [str(number % 5).encode() * 1_000 for number in range(40)]
    threads = [threading.Thread(target=files.put, args=([c],)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(files.hashes()) == sorted({name_of(content) for content in contents})
    assert all(read(files, name_of(content)) == content for content in contents)


def test_a_store_without_files_says_how_to_open_one_with():
    with (
        conduitstore.open(":memory:") as store,
        pytest.raises(InvalidArgumentError, match="media_files="),
    ):
        _ = store.beside.files


def test_what_is_beside_a_store_is_the_same_in_all_its_keyspaces():
    class Notes:
        pass

    files = MemoryFiles()
    with conduitstore.open(":memory:", media_files=files) as store, store.snapshot() as view:
        notes = store.beside.memory(Notes)
        assert store.transaction(lambda tx: tx.beside.memory(Notes)) is notes
        assert store.transaction(lambda tx: tx.rooms.beside.memory(Notes)) is notes
        assert view.beside.memory(Notes) is notes
        assert view.beside.files is files
