"""What nobody may have is known by its bytes, under every name."""

from hashlib import sha256

import pytest

from conduitstore.parts.media.records import Dimensions, Selection
from conduitstore.types import Mxc

USER = "@a:one.test"
ONE, TWO, FAR = Mxc("one.test", "one"), Mxc("one.test", "two"), Mxc("far.test", "one")
SMALL, LARGE = Dimensions(32, 32), Dimensions(0xFFFF00FF, 0xFF)


def name_of(content):
    return sha256(content).hexdigest()


def test_what_is_blocked_is_blocked_under_every_name(store, put):
    content, thumb = put(b"content"), put(b"thumb")
    store.media.files.create(ONE, *content)
    store.media.files.create(FAR, *content, kind="remote")
    store.media.thumbnails.create(ONE, SMALL, *thumb)
    store.media.blocks.block([ONE], "spam", now_secs=5)
    assert store.media.blocks.is_blocked(ONE)
    assert store.media.blocks.is_blocked(FAR)
    assert not store.media.blocks.is_blocked(TWO)
    assert store.media.blocks.is_blocked_file(content[0])
    assert store.media.blocks.is_blocked_file(thumb[0])
    assert [(b.mxc, b.reason, b.blocked_secs) for b in store.media.blocks.all()] == [
        (ONE, "spam", 5)
    ]
    assert store.media.files.query(FAR).is_blocked
    assert store.media.files.query(FAR).block is None


def test_blocked_bytes_stay_known_after_they_are_purged(store, put):
    content = put(b"content")
    store.media.files.create(ONE, *content, uploader=USER)
    store.media.blocks.block([ONE])
    assert store.media.retention.purge([ONE]) == [content[0]]
    assert store.media.contents.delete_files() == 1
    assert store.media.files.get(ONE) is None
    assert store.media.files.query(ONE).file.info is None
    again = store.media.files.upload(TWO, [b"content"])
    assert store.media.blocks.is_blocked(TWO)
    assert store.media.files.get(TWO) is None
    assert store.media.contents.delete_files() == 1
    assert store.beside.files.size(again) is None


@pytest.mark.parametrize("force", [False, True])
def test_purging_what_is_blocked_by_its_bytes_leaves_what_looks_alike(store, put, force):
    content, thumb = put(b"content"), put(b"thumb")
    store.media.files.create(ONE, *content)
    store.media.files.create(FAR, *content)
    store.media.thumbnails.create(FAR, SMALL, *thumb)
    store.media.thumbnails.create(TWO, SMALL, *thumb)
    store.media.blocks.block([ONE])
    store.media.retention.purge([FAR], force=force)
    assert store.media.files.query(FAR).file.info is None
    assert (store.media.thumbnails.get(TWO, SMALL) is None) == force


def test_defect_14_media_that_was_never_here_is_blocked_and_unblocked(store):
    store.media.blocks.block([FAR], "reported")
    assert store.media.blocks.is_blocked(FAR)
    assert store.media.blocks.unblock([FAR, TWO]) == 1
    assert not store.media.blocks.is_blocked(FAR)
    assert store.media.blocks.all() == []


def test_defect_14_media_with_thumbnails_is_unblocked(store, put):
    store.media.files.create(ONE, *put(b"content"))
    store.media.thumbnails.create(ONE, SMALL, *put(b"thumb"))
    store.media.blocks.block([ONE])
    assert store.media.blocks.unblock([ONE]) == 1
    assert store.media.files.get(ONE) is not None
    assert store.media.thumbnails.get(ONE, SMALL) is not None


def test_unblocking_what_was_purged_forgets_it_so_that_it_can_come_again(store, put):
    store.media.files.create(FAR, *put(b"content"), kind="remote")
    store.media.blocks.block([FAR])
    store.media.retention.purge([FAR])
    store.media.files.upload(TWO, [b"content"])  # Noted, because it is blocked.
    store.media.blocks.unblock([FAR])
    for mxc in (FAR, TWO):
        assert store.media.files.query(mxc).file is None
    store.media.files.upload(FAR, [b"content"], kind="remote")
    assert store.media.files.get(FAR) is not None
    assert store.media.contents.delete_files() == 0
    assert list(store.media.contents.missing()) == []


def test_blocking_what_a_user_uploaded_lately(store, put):
    store.media.files.create(ONE, *put(b"1"), uploader=USER, now_secs=99)
    store.media.files.create(TWO, *put(b"2"), uploader=USER, now_secs=100)
    chosen = Selection(uploader=USER, after_secs=100)
    assert store.media.blocks.block_selected(chosen, "spam") == [TWO]
    assert not store.media.blocks.is_blocked(ONE)
