"""The README's examples run as they stand."""

import re

import pytest

EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(2))
def test_an_example_runs(root, tmp_path, monkeypatch, number):
    examples = EXAMPLE.findall((root / "README.md").read_text())
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    exec(compile(examples[number], f"README example {number}", "exec"), {})
    assert any(tmp_path.iterdir()), "it made a store where it says"
