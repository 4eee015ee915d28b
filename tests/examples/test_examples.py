"""Every example runs, and prints what it is there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

PRINTS = {
    "filing_cabinet": """\
todo:2 is answer Alice
todo:9 is None
todo:1 = water the plants
todo:2 = answer Alice
todo:3 = sleep
done: answer Alice
left: note:1, todo:1, todo:3
""",
    "ordered_numbers": """\
big-endian: 1 2 255 256 1000 65536
little-endian: 65536 256 1 2 1000 255
""",
    "compare_and_swap": """\
alice has seat 1
bob finds alice in seat 1
seat 1 is free: True
""",
    "transaction": """\
undone: not enough
purse 30
savings 70
""",
    "merge_operator": "sea, summer, Alice\n",
    "subscriber": """\
Insert(key=b'todo:1', value=b'sleep')
Remove(key=b'todo:1')
later: Insert(key=b'todo:2', value=b'while nobody listened')
""",
    "log": """\
on the platter up to 3
2 dear Bob
3 dear Carol
4 not synced: a power loss may take it
files forgotten: 2
the next is 5
""",
    "leaf_store": """\
4 words, then 5
cow: gives milk
from b to c: bee cat cow
the last: dog
""",
    "last_ten": "999 998 997 996 995 994 993 992 991 990\n",
    "before_a_time": """\
forgotten: 2
left: 3000 4000
""",
    "ids": """\
one by one: 0 1
a block: 2 3 4
in a commit: 5
after a clean close: 6
""",
}


def test_every_example_is_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTS)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_shows(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout, done.stderr, done.returncode) == (PRINTS[name], "", 0)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_is_read_in_a_minute(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40
