"""The README's examples run as they stand, and what it names is there."""

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


def test_what_it_says_to_install_is_there(root, pyproject):
    extras = re.findall(r"pip install '\.\[(\w+)\]'", (root / "README.md").read_text())
    assert extras
    assert set(extras) <= pyproject["project"]["optional-dependencies"].keys()


def test_it_names_every_command(root):
    app = pytest.importorskip("conduitstore.cli.app").app
    line = re.search(
        r"The command line .*: `conduitstore ([^.]+)\.\n", (root / "README.md").read_text()
    )
    assert sorted(re.findall(r"[a-z-]+", line.group(1))) == sorted(app.commands)
