"""Every byte of a store flipped, every file cut at every length, mixed up, taken away.

``ROT_EVERY=1`` tries each place, ``ROT_BITS`` so many bits of a large store, ``ROT_SEED`` makes
other stores. A failure prints a script that repeats it.
"""

import logging
import os

import pytest

from conduitstore.engine.embedded import format as format_
from conduitstore.testing import rot
from conduitstore.testing.damage import (
    BITS,
    cuts,
    flip,
    flips,
    in_groups,
    mixups,
    numbered_files,
    random_flips,
)
from conduitstore.testing.moves import exchange, moves, places
from conduitstore.testing.rot import LARGE, OUTCOMES, SETTINGS, judge, judge_all, lived

EVERY = int(os.environ.get("ROT_EVERY", "29"))
TOTAL = int(os.environ.get("ROT_BITS", "600"))
GROUP = int(os.environ.get("ROT_GROUP", "20"))  # So many bits at once; 1: each by itself.
SEED = int(os.environ.get("ROT_SEED", "1"))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Each damage is warned about; there are thousands."""
    monkeypatch.setattr(logging.getLogger("conduitstore"), "disabled", True)


@pytest.fixture(scope="module", params=[False, True], ids=["killed", "closed"])
def life(request):
    return lived(SEED, is_closed=request.param)


@pytest.fixture(scope="module")
def strange():
    return lived(SEED + 1, is_closed=True)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(8 if EVERY == 1 else 1))
def test_no_flipped_byte_gives_a_wrong_answer(life, turn, faults):
    bits = BITS[turn:] + BITS[:turn]
    faults.update(judge_all(life, flips(life.image, every=EVERY, bits=bits)))
    assert all(faults[outcome] > 0 for outcome in OUTCOMES)


@pytest.mark.slow
def test_no_whole_byte_gives_a_wrong_answer(life, faults):
    faults.update(judge_all(life, flips(life.image, every=2 * EVERY, bits=(0xFF, 0x41))))


@pytest.mark.slow
def test_no_length_of_any_file_gives_a_wrong_answer(life, faults):
    faults.update(judge_all(life, cuts(life.image, every=EVERY)))


@pytest.mark.slow
def test_no_frame_counts_in_another_place(life, faults):
    """Every frame over every other of the store, and every two exchanged."""
    faults.update(judge_all(life, moves(life.image, every=EVERY)))
    assert all(faults[outcome] > 0 for outcome in OUTCOMES)


@pytest.mark.slow
def test_no_mixing_up_of_files_gives_a_wrong_answer(life, strange, faults):
    faults.update(judge_all(life, mixups(life.image, strange.image), strange=strange))
    assert faults["refused"] > 20


@pytest.mark.slow
def test_no_bits_of_a_large_store_give_a_wrong_answer(faults):
    life = rot.lived_large(SEED, 4_000)
    assert sum(map(len, life.image.values())) > 500_000
    damages = in_groups(random_flips(life.image, SEED, TOTAL), GROUP)
    for outcome, total in judge_all(life, damages, settings=LARGE).items():
        faults[outcome] += total * GROUP


def test_it_is_always_the_same_store():
    one, other = lived(7), lived(7)
    assert one == other
    assert lived(8).image != one.image


# Can it fail? -------------------------------------------------------------------------------------


def checksums_hold(monkeypatch):
    """An engine that takes whatever it reads."""
    monkeypatch.setattr(format_, "crc32", lambda _data, _seed=0: 0)


def judged(life, damages):
    for damage in damages:
        judge(life, damage)


def test_an_engine_without_checksums_is_found_out(monkeypatch):
    checksums_hold(monkeypatch)
    life = lived(SEED, settings=SETTINGS | {"compression_level": 0})
    with pytest.raises(AssertionError) as caught:
        judged(life, flips(life.image, every=5, bits=(0x01,)))
    assert caught.value.__notes__[0].startswith("after flip('")


class Anywhere(int):
    """The seed of checksums that do not know where a frame stands."""

    def __xor__(self, _offset):
        return self


def test_a_failure_prints_a_script_with_no_more_flips_than_it_takes(monkeypatch):
    checksums_hold(monkeypatch)
    life = lived(SEED, settings=SETTINGS | {"compression_level": 0})
    with pytest.raises(AssertionError) as caught:
        judge_all(life, in_groups(flips(life.image, every=5, bits=(0x01,)), 30), shrink_seconds=500)
    script = caught.value.__notes__[-1].partition("\n")[2]
    assert f"judge(\n    lived({SEED}, is_closed=False, settings=" in script
    assert 0 < script.count("flip(") < 5
    with pytest.raises(AssertionError) as again:
        exec(script, {})
    assert again.value.__notes__[0].startswith("after several([flip(")
    monkeypatch.undo()
    exec(script, {})  # The bug is gone.


def test_frames_that_count_in_any_place_are_found_out(monkeypatch):
    """Two blobs of one length change places: each is a value that was stored, of another key."""
    seed = format_.Header.seed.fget
    monkeypatch.setattr(format_.Header, "seed", property(lambda header: Anywhere(seed(header))))
    life = lived(SEED)
    with pytest.raises(AssertionError) as caught:
        judged(life, moves(life.image, every=1_000))
    assert "(Place(file='segment-" in caught.value.__notes__[0]


def test_places_are_those_of_all_frames():
    image = lived(SEED).image
    found = places(image)
    assert sum(one.size for one in found) + 64 * len({one.file for one in found}) == sum(
        len(image[file]) for file in numbered_files(image)
    )
    one, other = found[-2:]
    assert one.file == other.file
    after = exchange(one, other)(image)
    assert after == image | {one.file: after[one.file]}
    assert sorted(after[one.file]) == sorted(image[one.file])
    assert after[one.file].endswith(image[one.file][one.at : one.end])


def test_an_error_without_a_type_is_found_out(monkeypatch):
    life = lived(SEED)
    monkeypatch.setattr(format_, "UnsupportedFormatError", KeyError)
    monkeypatch.setattr(format_, "CorruptedError", KeyError)
    with pytest.raises(KeyError):
        judged(life, [flip(numbered_files(life.image)[-1], 3, 1)])
