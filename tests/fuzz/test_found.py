"""What was found once: places and lengths that no file can have, told by rows and references."""

import pytest
from hostile import BLOB_FRAME, LEAF, generation, image, use, with_blob

from conduitstore.engine import embedded
from conduitstore.engine.embedded.leaf import encode_leaf
from conduitstore.errors import CorruptedError
from conduitstore.testing.damage import disk_of

FRAME = 16 + len(LEAF)
ROWS = [
    (3, -1, FRAME, 2, 16),
    (3, 64, -5, 2, 16),
    (3, 64, 1 << 62, 2, 16),
    (3, 1 << 62, FRAME, 2, 16),
    (3, (1 << 64) - 1, FRAME, 2, 16),
    (3, 64, FRAME, -2, 16),
    (3, 64, FRAME, 0, 16),
    (3, 64, FRAME, 1 << 63, 16),
    (-3, 64, FRAME, 2, 16),
]
REFERENCES = [
    (3, -64, BLOB_FRAME, 65),
    (3, 64, -1, 65),
    (3, 64, 1 << 62, 65),
    (3, 1 << 63, BLOB_FRAME, 65),
    (9, 64, BLOB_FRAME, 65),
    (3, 64, BLOB_FRAME, 1 << 62),
    (3, 64, BLOB_FRAME, -1),
    (3, 64, "x", 65),
    (3, 64),
    (),
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_that_cannot_be_is_damage(row):
    files = image(whole=generation({1: {b"": row}}).encode(), log=[])
    use(files)
    with pytest.raises(CorruptedError, match="manifest-00000004"):
        embedded.open("store", files=disk_of(files))


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_that_cannot_be_is_damage(reference):
    leaf, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", reference], None)
    use(with_blob(leaf))
    with embedded.open("store", files=disk_of(with_blob(leaf))) as db:
        with pytest.raises(CorruptedError, match="segment-00000003"):
            list(db.open_tree("t"))
        assert list(db) == []


def test_a_value_that_is_none_is_damage():
    """A list in the place of a value, of a leaf that is said to have no blobs."""
    leaf, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"value", (3, 64, 5, 5)], None)
    row = (3, 64, 16 + len(leaf), 2, 16)
    files = image(leaf=leaf, whole=generation({1: {b"": row}}).encode(), log=[])
    use(files)
    with (
        embedded.open("store", files=disk_of(files)) as db,
        pytest.raises(CorruptedError, match="segment-00000003"),
    ):
        db.open_tree("t").get(b"kb")


def test_more_keys_than_values_are_damage():
    leaf, _ = encode_leaf(1, 3, [b"ka", b"kb"], [b"one", b"two", b"three!"], None)
    row = (3, 64, 16 + len(leaf), 2, 16)
    files = image(leaf=leaf, whole=generation({1: {b"": row}}).encode(), log=[])
    use(files)
    with (
        embedded.open("store", files=disk_of(files)) as db,
        pytest.raises(CorruptedError, match="segment-00000003"),
    ):
        db.open_tree("t").get(b"kb")
