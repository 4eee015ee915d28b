"""How media go, on demand and by policy; nothing refers to what is gone."""

from hashlib import sha256

import pytest

from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.media.records import Dimensions, Selection, Usage
from conduitstore.parts.media.retention import KindLimits, Limits
from conduitstore.types import Mxc

USER = "@a:one.test"
ONE, TWO, FAR = Mxc("one.test", "one"), Mxc("one.test", "two"), Mxc("far.test", "one")
SMALL, LARGE = Dimensions(32, 32), Dimensions(0xFFFF00FF, 0xFF)


def name_of(content):
    return sha256(content).hexdigest()


def test_a_file_goes_with_its_last_use(store, put):
    file, size = put(b"content")
    store.media.files.create(ONE, file, size, uploader=USER)
    store.media.files.create(TWO, file, size)
    store.media.thumbnails.create(FAR, SMALL, file, size)
    assert store.media.retention.purge([ONE]) == []
    assert store.media.retention.purge([TWO, TWO]) == []
    assert store.media.contents.delete_files() == 0
    assert store.media.retention.purge([FAR]) == [file]
    assert store.media.contents.delete_files() == 1
    assert store.beside.files.size(file) is None


def test_defect_14_a_purge_takes_thumbnail_rows_and_files(store, put, rows):
    before = rows()
    file, thumb = put(b"content"), put(b"thumb")
    store.media.files.create(ONE, *file, uploader=USER)
    store.media.thumbnails.create(ONE, SMALL, *thumb)
    store.media.thumbnails.create(ONE, LARGE, *thumb)
    assert sorted(store.media.retention.purge([ONE])) == sorted([file[0], thumb[0]])
    assert store.media.contents.delete_files() == 2
    after = rows()  # Nothing is left, not even counts of nothing.
    assert after | {"global": []} == before | {"global": []}
    assert store.media.contents.statistics() == dict.fromkeys(
        ("local", "remote", "thumbnail"), Usage(0, 0)
    )
    assert list(store.beside.files.hashes()) == []


def test_a_forced_purge_takes_the_bytes_under_every_name(store, put):
    file, thumb, kept = put(b"content"), put(b"thumb"), put(b"kept")
    store.media.files.create(ONE, *file)
    store.media.files.create(FAR, *file, kind="remote")
    store.media.thumbnails.create(FAR, SMALL, *thumb)  # Shows the same picture.
    store.media.files.create(TWO, *kept)
    store.media.thumbnails.create(TWO, SMALL, *thumb)
    assert store.media.retention.purge([ONE], force=True) == [file[0]]
    assert store.media.files.get(FAR) is None
    assert store.media.thumbnails.all(FAR) == []
    assert store.media.thumbnails.get(TWO, SMALL).file == thumb[0]
    assert store.media.files.get(TWO).file == kept[0]


@pytest.mark.parametrize("force", [False, True])
def test_defect_14_a_purge_by_time_means_the_same_for_users_and_servers(store, put, force):
    media = [Mxc("one.test", str(secs)) for secs in (99, 100, 101)]
    for mxc in media:
        secs = int(mxc.media_id)
        content = put(mxc.media_id.encode())
        store.media.files.create(mxc, *content, uploader=USER, now_secs=secs)
    for chosen in ({"uploader": USER}, {"server": "one.test"}):
        selection = Selection(after_secs=100, before_secs=101, **chosen)
        assert [item.mxc for item in store.media.files.select(selection)] == [media[1]]
    store.media.retention.purge_selected(Selection(uploader=USER, after_secs=100), force=force)
    assert [store.media.files.get(mxc) is None for mxc in media] == [False, True, True]
    store.media.retention.purge_selected(Selection(server="one.test", after_secs=99), force=force)
    assert store.media.files.get(media[0]) is None


def test_purging_a_user_a_server_a_size(store, put):
    for mxc, content, uploader in (
        (ONE, b"1", USER),
        (TWO, b"22", "@ab:one.test"),
        (FAR, b"333", None),
    ):
        store.media.files.create(mxc, *put(content), uploader=uploader)
    store.media.thumbnails.create(FAR, SMALL, *put(b"4444"))
    purge = store.media.retention.purge_selected
    assert purge(Selection(uploader=USER)) == [name_of(b"1")]
    assert purge(Selection(server="far.test", bytes_min=4)) == [name_of(b"4444")]
    assert store.media.files.get(FAR) is not None  # Only the thumbnail was of that size.
    assert purge(Selection(server="far.test")) == [name_of(b"333")]
    assert purge(Selection(bytes_max=1)) == []
    assert purge(Selection()) == [name_of(b"22")]
    assert store.media.files.select(Selection()) == []


def test_selections_by_type(store, put):
    for mxc, type in ((ONE, "image/png"), (TWO, "image/jpeg"), (FAR, None)):
        store.media.files.create(mxc, *put((type and type.encode()) or b""), content_type=type)

    def found(**chosen):
        return [item.mxc for item in store.media.files.select(Selection(**chosen))]

    assert found(content_type="image") == [ONE, TWO]
    assert found(content_type="image/png") == [ONE]
    assert found(content_type="image/p") == []
    assert found() == [FAR, ONE, TWO]
    assert found(server="one.test") == [ONE, TWO]
    assert found(server="one") == []
    assert found(uploader=USER, server="far.test") == []


def test_defect_14_room_is_made_by_what_was_not_used_for_longest(store, put):
    media = [Mxc("one.test", str(number)) for number in range(4)]
    for number, mxc in enumerate(media):
        store.media.files.create(mxc, *put(b"%04d" % number), now_secs=100 + number)
    store.media.files.touch(media[0], 500)
    limits = Limits(local=KindLimits(bytes_max=16))
    assert store.media.retention.make_room(limits, "local", 0) == []
    assert store.media.retention.make_room(limits, "local", 5) == [
        name_of(b"0001"),
        name_of(b"0002"),
    ]
    assert store.media.files.get(media[0]) is not None
    assert store.media.retention.make_room(limits, "remote", 99) == []
    assert store.media.retention.make_room(limits, "local", 9, file=name_of(b"0000")) == []


def test_a_file_over_the_limit_by_itself_pushes_nothing_out(store, put):
    store.media.files.create(ONE, *put(b"content"))
    for limits in (Limits(local=KindLimits(bytes_max=10)), Limits(bytes_max=10)):
        with pytest.raises(InvalidArgumentError, match="by itself"):
            store.media.retention.make_room(limits, "local", 11)
    assert store.media.files.get(ONE) is not None


def test_room_for_all_together_is_made_among_all_kinds(store, put):
    store.media.files.create(ONE, *put(b"local"), now_secs=20)
    store.media.files.create(FAR, *put(b"far"), kind="remote", now_secs=10)
    store.media.thumbnails.create(ONE, SMALL, *put(b"thumb"), now_secs=15)
    limits = Limits(bytes_max=13)
    assert store.media.retention.make_room(limits, "remote", 1) == [name_of(b"far")]
    assert store.media.retention.make_room(limits, "remote", 8) == [name_of(b"thumb")]


def test_what_is_old_or_unused_expires(store, put):
    store.media.files.create(ONE, *put(b"old but used"), now_secs=100)
    store.media.files.create(TWO, *put(b"unused"), now_secs=200)
    store.media.files.create(FAR, *put(b"far"), kind="remote", now_secs=100)
    store.media.files.touch(ONE, 900)
    unused = Limits(local=KindLimits(unused_secs_max=800))
    assert store.media.retention.expire(unused, now_secs=1_000) == []
    assert store.media.retention.expire(unused, now_secs=1_001) == [name_of(b"unused")]
    aged = Limits(local=KindLimits(age_secs_max=900))
    assert store.media.retention.expire(aged, now_secs=1_001) == [name_of(b"old but used")]
    assert store.media.retention.expire(Limits(), now_secs=1 << 40) == []
    assert store.media.contents.statistics()["remote"] == Usage(1, 3)


def test_a_file_of_several_kinds_counts_as_the_first(store, put):
    content = put(b"content")
    kinds = store.media.contents
    store.media.thumbnails.create(ONE, SMALL, *content, now_secs=1)
    assert kinds.usage("thumbnail") == (1, 7)
    store.media.files.create(FAR, *content, kind="remote", now_secs=2)
    assert (kinds.usage("remote"), kinds.usage("thumbnail")) == ((1, 7), (0, 0))
    store.media.files.create(ONE, *content, now_secs=3)
    assert (kinds.usage("local"), kinds.usage("remote")) == ((1, 7), (0, 0))
    store.media.thumbnails.create(FAR, SMALL, *content, now_secs=4)
    assert kinds.usage("local") == (1, 7)
    assert [list(kinds.oldest(kind)) for kind in ("remote", "thumbnail")] == [[], []]
    assert list(kinds.oldest("local")) == [(1, content[0], 7)]
