"""Text cut into the words it is found by.

A word is a run of letters, digits and the marks on letters, in lower case. Longer than 50 bytes it
is no word that somebody would look for: base64, or a script that puts no spaces between words.
"""

from __future__ import annotations

from unicodedata import category

WORD_BYTES_MAX = 50


class _Separated(dict[int, int]):
    """For ``str.translate``: what is no part of a word becomes a space. Learns as it is asked."""

    def __missing__(self, code: int) -> int:
        char = chr(code)
        kept = char.isalnum() or category(char).startswith("M")
        found = self[code] = code if kept else 0x20
        return found


_SEPARATED = _Separated()


def words(text: str) -> list[str]:
    """The words of ``text``, each once, in the order they first come."""
    found = text.translate(_SEPARATED).split()
    short = [word.lower() for word in found if len(word.encode()) <= WORD_BYTES_MAX]
    return list(dict.fromkeys(short))
