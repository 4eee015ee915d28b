"""Arguments that are no media are refused, and nothing of them is kept."""

from hashlib import sha256

import pytest

from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.media.records import Dimensions, Selection
from conduitstore.parts.media.retention import Limits
from conduitstore.schema import TREES
from conduitstore.types import Mxc

USER = "@a:one.test"
ONE, TWO, FAR = Mxc("one.test", "one"), Mxc("one.test", "two"), Mxc("far.test", "one")
SMALL, LARGE = Dimensions(32, 32), Dimensions(0xFFFF00FF, 0xFF)


def name_of(content):
    return sha256(content).hexdigest()


@pytest.mark.parametrize(
    "bad",
    [None, "mxc://a/b", ("a", "b"), Mxc("", "x"), Mxc("x", ""), Mxc("x", "\ud800"), Mxc("x", 5)],
)
def test_what_is_no_mxc(store, rows, put, bad):
    content = put(b"content")
    before = rows()
    media = store.media
    for call in (
        lambda: media.files.create(bad, *content),
        lambda: media.files.get(bad),
        lambda: media.files.touch(bad),
        lambda: media.thumbnails.create(bad, SMALL, *content),
        lambda: media.thumbnails.all(bad),
        lambda: media.retention.purge([bad]),
        lambda: media.blocks.block([TWO, bad]),
        lambda: media.blocks.is_blocked(bad),
        lambda: media.uploaders.of(bad),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


def test_what_is_no_media_otherwise(store, rows, put):
    content = put(b"content")
    before = rows()
    create, thumbnail = store.media.files.create, store.media.thumbnails.create
    for call in (
        lambda: create(ONE, "../secret", 7),
        lambda: create(ONE, content[0].upper(), 7),
        lambda: create(ONE, content[0], -1),
        lambda: create(ONE, *content, filename="\ud800"),
        lambda: create(ONE, *content, content_type=5),
        lambda: create(ONE, *content, kind="lost"),
        lambda: create(ONE, *content, uploader="@a:far.test"),
        lambda: create(ONE, *content, uploader="nobody"),
        lambda: create(ONE, *content, uploader=5),
        lambda: create(ONE, *content, unauthenticated="yes"),
        lambda: create(ONE, *content, now_secs=-1),
        lambda: thumbnail(ONE, None, *content),
        lambda: thumbnail(ONE, (1, 1), *content),
        lambda: thumbnail(ONE, Dimensions(-1, 1), *content),
        lambda: thumbnail(ONE, Dimensions(1 << 32, 1), *content),
        lambda: thumbnail(ONE, Dimensions(True, 1), *content),
        lambda: store.media.blocks.block([ONE], "\ud800"),
        lambda: store.media.retention.purge_selected(Selection(after_secs=-1)),
        lambda: store.media.retention.purge_selected("all"),
        lambda: store.media.retention.make_room(Limits(), "lost", 1),
        lambda: store.media.contents.usage("lost"),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert rows() == before


def test_long_names_are_kept_whole(store, put):
    store.media.files.create(ONE, *put(b"x"), filename="é" * 5_000)
    assert store.media.files.get(ONE).filename == "é" * 5_000
    assert TREES["servernamemediaid_metadata"].value_fields.fields[1] == "filename"
