"""Previews of web pages: typed, so that no number in them is taken for a separator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.codec.records import pack_record, unpack_record
from conduitstore.errors import InvalidArgumentError
from conduitstore.parts.media.previews import UrlPreview

PAGE = "https://one.test/"
LONG = PAGE + "x" * 5_000
numbers = st.none() | st.integers(0, (1 << 64) - 1)
texts = st.none() | st.text(st.characters(codec="utf-8"))


@given(
    st.builds(
        UrlPreview,
        url=st.text(st.characters(codec="utf-8")),
        fetched_ms=st.integers(0, (1 << 64) - 1),
        title=texts,
        description=texts,
        image=texts,
        image_bytes=numbers,
        image_width=numbers,
        image_height=numbers,
        unknown=st.just({}),
    )
)
def test_any_text_and_number_comes_back(preview):
    assert unpack_record("url_preview", pack_record(preview), UrlPreview) == preview


@pytest.mark.parametrize("url", [PAGE, LONG])
def test_a_preview_is_replaced_and_removed(store, url):
    old = UrlPreview(url=url, fetched_ms=1_000, image_width=0xFF)
    new = UrlPreview(url=url, fetched_ms=2_000, title="t")
    store.media.previews.set(old)
    store.media.previews.set(new)
    assert store.media.previews.get(url) == new
    assert store.media.previews.get(url, after_ms=2_000) == new
    assert store.media.previews.get(url, after_ms=2_001) is None
    assert store.media.previews.forget_before(2_000) == 0
    assert store.media.previews.remove(url)
    assert not store.media.previews.remove(url)
    assert len(store.db.open_tree("fetchedms_url")) == 0


def test_previews_go_by_time_or_all(store):
    for number in range(5):
        store.media.previews.set(UrlPreview(url=PAGE + str(number), fetched_ms=number))
    assert store.media.previews.forget_before(3, limit=1) == 1
    assert store.media.previews.forget_before(3) == 2
    assert store.media.previews.get(PAGE + "2") is None
    assert store.media.previews.get(PAGE + "3") is not None
    store.media.previews.clear()
    for tree in ("url_preview", "fetchedms_url"):
        assert len(store.db.open_tree(tree)) == 0


def test_a_damaged_preview_is_none_and_can_be_replaced(store):
    store.db.open_tree("url_preview").insert(PAGE.encode(), b"ts\xfftitle\xff")
    assert store.media.previews.get(PAGE) is None
    store.media.previews.set(UrlPreview(url=PAGE, fetched_ms=1))
    assert store.media.previews.get(PAGE).fetched_ms == 1


def test_what_is_no_preview(store, rows):
    before = rows()
    for bad in (
        None,
        {"url": PAGE},
        UrlPreview(url=5, fetched_ms=1),
        UrlPreview(url="", fetched_ms=1),
        UrlPreview(url="\ud800", fetched_ms=1),
        UrlPreview(url=PAGE, fetched_ms="now"),
        UrlPreview(url=PAGE, fetched_ms=-1),
        UrlPreview(url=PAGE, fetched_ms=1, image_width=1.5),
        UrlPreview(url=PAGE, fetched_ms=1, title="\ud800"),
    ):
        with pytest.raises(InvalidArgumentError):
            store.media.previews.set(bad)
    assert rows() == before
