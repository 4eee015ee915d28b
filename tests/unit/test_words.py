"""Text cut into the words it is found by."""

from conduitstore.codec.words import words


def test_words():
    assert words("Straße, ÉTÉ_2024 naïve's\x00x") == ["straße", "été", "2024", "naïve", "s", "x"]
    assert words("हिन्दी میں") == ["हिन्दी", "میں"]
    assert words("a" * 51 + " " + "b" * 50 + " B" * 3) == ["b" * 50, "b"]
    assert words("") == words("😀 -- \ufffd") == []
