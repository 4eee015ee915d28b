"""docs/consistency.md lists the rules there are, and its example runs."""

import re

from conduitstore.consistency import RULES


def test_the_page_lists_every_rule(root):
    page = (root / "docs/consistency.md").read_text()
    listed = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert listed == [(str(rule.number), rule.says) for rule in RULES]
    numbers = [rule.number for rule in RULES]
    assert numbers == sorted(set(numbers))


def test_the_example_runs(root):
    page = (root / "docs/consistency.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})
