"""What stands behind a media id, byte for byte and as it is found."""

from hashlib import sha256

import pytest

import conduitstore
from conduitstore.errors import ConflictError, InvalidArgumentError
from conduitstore.parts.media.records import Dimensions, Usage
from conduitstore.types import Mxc

USER = "@a:one.test"
ONE, TWO, FAR = Mxc("one.test", "one"), Mxc("one.test", "two"), Mxc("far.test", "one")
SMALL, LARGE = Dimensions(32, 32), Dimensions(0xFFFF00FF, 0xFF)


def name_of(content):
    return sha256(content).hexdigest()


def test_the_rows_are_conduits(store, put):
    file, size = put(b"content")
    store.media.files.create(
        ONE, file, size, filename="é.png", content_type="image/png", uploader=USER, now_secs=255
    )
    thumb, thumb_size = put(b"thumb")
    store.media.thumbnails.create(ONE, LARGE, thumb, thumb_size, unauthenticated=True, now_secs=7)
    store.media.blocks.block([TWO], "spam", now_secs=0xFF)
    raw, raw_thumb = bytes.fromhex(file), bytes.fromhex(thumb)
    dimensions = bytes.fromhex("ffff00ff 000000ff")

    def all_of(tree):
        return list(store.db.open_tree(tree))

    assert all_of("servernamemediaid_metadata") == [
        (b"one.test\xffone", raw + "é.png".encode() + b"\xffimage/png")
    ]
    assert all_of("filehash_servername_mediaid") == [(raw + b"one.test\xffone", b"")]
    assert (raw, (7).to_bytes(8) + (255).to_bytes(8) * 2) in all_of("filehash_metadata")
    assert all_of("servernamemediaid_userlocalpart") == [(b"one.test\xffone", b"a")]
    assert all_of("servername_userlocalpart_mediaid") == [(b"one.test\xffa\xffone", b"")]
    assert all_of("thumbnailid_metadata") == [
        (b"one.test\xffone\xff" + dimensions, raw_thumb + b"\xff\xff")
    ]
    assert all_of("filehash_thumbnailid") == [
        (raw_thumb + b"one.test\xffone\xff" + dimensions, b"")
    ]
    assert all_of("blocked_servername_mediaid") == [
        (b"one.test\xfftwo", (255).to_bytes(8) + b"spam")
    ]


def test_what_is_uploaded_is_found_with_all_that_is_known_of_it(store):
    file = store.media.files.upload(
        ONE, [b"con", b"tent"], filename="f", content_type="image/png", uploader=USER
    )
    item = store.media.files.get(ONE)
    assert (item.mxc, item.file, item.filename, item.content_type) == (ONE, file, "f", "image/png")
    assert item.info.size_bytes == 7
    assert not item.unauthenticated
    with store.beside.files.open(item.file) as reader:
        assert reader.read() == b"content"
    assert store.media.uploaders.of(ONE) == USER
    assert store.media.uploaders.uploads(USER) == [ONE]
    known = store.media.files.query(ONE)
    assert (known.file, known.uploader, known.thumbnails) == (item, USER, [])
    assert not known.is_blocked
    assert store.media.files.get(TWO) is None
    assert store.media.files.query(TWO).file is None


def test_thumbnails_are_found_by_their_exact_size_only(store, put):
    file, size = put(b"thumb")
    store.media.thumbnails.create(ONE, LARGE, file, size, content_type="image/webp")
    assert store.media.thumbnails.get(ONE, LARGE).content_type == "image/webp"
    assert store.media.thumbnails.get(ONE, SMALL) is None
    assert store.media.thumbnails.get(Mxc("one.test", "on"), LARGE) is None
    assert store.media.thumbnails.all(Mxc("one.test", "on")) == []
    assert [item.dimensions for item in store.media.thumbnails.all(ONE)] == [LARGE]
    assert store.media.files.get(ONE) is None  # Its media need not be here.


def test_defect_14_uploading_the_same_bytes_again_keeps_their_age(store, put):
    file, size = put(b"content")
    store.media.files.create(ONE, file, size, now_secs=100)
    store.media.files.create(TWO, file, size, now_secs=200)
    store.media.files.create(ONE, file, size, now_secs=300)
    assert store.media.contents.info(file) == (7, 100, 300)
    assert store.media.contents.statistics()["local"] == Usage(1, 7)


def test_media_that_gets_other_bytes_lets_go_of_the_old_ones(store, put):
    first, second = put(b"first"), put(b"second")
    store.media.files.create(ONE, *first, uploader=USER)
    store.media.files.create(ONE, *second)
    assert store.media.files.get(ONE).file == second[0]
    assert store.media.uploaders.of(ONE) is None
    assert store.media.contents.info(first[0]) is None
    store.media.thumbnails.create(ONE, SMALL, *first)
    store.media.thumbnails.create(ONE, SMALL, *second)
    assert store.media.contents.info(first[0]) is None
    assert store.media.contents.delete_files() == 1
    assert list(store.beside.files.hashes()) == [second[0]]


def test_defect_14_bytes_that_were_not_put_are_not_noted(store, rows, put):
    before = rows()
    file, size = put(b"content")
    for wrong in ((name_of(b"other"), 5), (file, size + 1)):
        with pytest.raises(ConflictError, match="put it"):
            store.media.files.create(ONE, *wrong)
    assert rows() == before
    store.media.files.create(ONE, file, size)
    with pytest.raises(InvalidArgumentError, match="7 bytes, not 8"):
        store.media.files.create(TWO, file, 8)


def test_a_store_without_files_keeps_rows_and_says_what_it_cannot():
    with conduitstore.open(":memory:") as store:
        store.media.files.create(ONE, name_of(b"x"), 1)
        assert store.media.files.get(ONE).info.size_bytes == 1
        assert store.media.retention.purge([ONE]) == [name_of(b"x")]
        for call in (
            lambda: store.media.files.upload(TWO, [b"x"]),
            store.media.contents.delete_files,
            store.media.contents.find_orphans,
            lambda: list(store.media.contents.missing()),
        ):
            with pytest.raises(InvalidArgumentError, match="media_files="):
                call()


def test_use_is_noted_and_never_goes_back(store, put):
    file, size = put(b"content")
    store.media.files.create(ONE, file, size, now_secs=100)
    store.media.files.touch(ONE, 300)
    store.media.files.touch(ONE, 200)
    store.media.contents.touch(file, 250)
    assert store.media.contents.info(file) == (7, 100, 300)
    store.media.files.touch(TWO, 300)  # Silent where it is gone.
    store.media.contents.touch(name_of(b"gone"), 300)
    assert list(store.media.contents.least_used("local")) == [(300, file, 7)]
