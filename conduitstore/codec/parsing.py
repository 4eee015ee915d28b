"""JSON as values, by whichever library reads it fastest here: the values are the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.scanner import make_scanner
from typing import Any, cast

REFUSALS = (ValueError, RecursionError)
"""What both readers raise: it is no JSON, or too deep for where the stack is."""

_DECODER = json.JSONDecoder()
_SCAN = make_scanner(cast("Any", _DECODER))  # The stubs take it for its own class.


def parse_all(value: bytes) -> Any:
    """JSON in UTF-8, and all else that Python takes for it."""
    text = value.decode()
    try:
        # What is written here has no space around it: one C call reads it.
        found, end = _SCAN(text, 0)
    except StopIteration:
        return _DECODER.decode(text)
    return found if end == len(text) else _DECODER.decode(text)


parse: Callable[[bytes], Any] = parse_all
"""Likewise; may refuse what stands for no number, or half of a pair of surrogates."""

try:
    from msgspec.json import Decoder
except ImportError:  # The extra ``fast`` is not installed, or not made for this machine.
    pass
else:
    parse = Decoder().decode
