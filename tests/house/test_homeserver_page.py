"""docs/homeserver.md is one program, and prints what it says."""

import io
import re
import threading
from contextlib import redirect_stdout

import pytest

import conduitstore
from conduitstore.consistency import check

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("run", range(2))
def test_each_block_prints_what_stands_below_it(root, tmp_path, monkeypatch, run):
    """Twice, for what a process left behind would show in the second."""
    monkeypatch.chdir(tmp_path)
    threads, names, printed = set(threading.enumerate()), {"__name__": "page"}, io.StringIO()
    blocks = BLOCK.findall((root / "docs" / "homeserver.md").read_text())
    assert len(blocks) > 10
    for kind, text in blocks:
        if kind == "text":
            assert printed.getvalue() == text
            printed = io.StringIO()
            continue
        assert not printed.getvalue()
        with redirect_stdout(printed):
            exec(compile(text, "docs/homeserver.md", "exec"), names)
    assert set(threading.enumerate()) == threads
    with conduitstore.open(tmp_path / "homeserver-data") as store, store.snapshot() as view:
        assert list(check(view.keyspace)) == []
