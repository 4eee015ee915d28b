"""Each line of the rules by itself: a row that is not there, or says otherwise, is reported."""

import pytest

from conduitstore.consistency import RULES
from conduitstore.consistency.references import Reference, Together
from conduitstore.consistency.rows import rows


def references_in(find):
    """The references that a rule is made of."""
    if isinstance(find, Together):
        return [reference for part in find.finds for reference in references_in(part)]
    maker = getattr(find, "__self__", None)
    return [maker] if isinstance(maker, Reference) else []


LINES = [(rule, reference) for rule in RULES for reference in references_in(rule.find)]
IDS = [f"{rule.number} {line.source} {line.target}" for rule, line in LINES]
AGREEING = [(rule, line) for rule, line in LINES if line.value is not None or line.agrees]


@pytest.mark.parametrize(("rule", "line"), LINES, ids=IDS)
def test_a_row_whose_other_row_is_wrong_is_named(lived, found, rule, line):
    row = next(rows(lived, line.source))

    def breaking(db):
        target, key = db.open_tree(line.target), line.target_key(row)
        had = target.insert(key, b"") if line.is_absent else target.remove(key)
        assert (had is None) == line.is_absent

    assert (line.source, row["key"]) in named_by(found(breaking, rule.find))


@pytest.mark.parametrize(("rule", "line"), AGREEING)
def test_a_row_whose_other_row_says_otherwise_is_named(lived, found, rule, line):
    row = next(rows(lived, line.source))

    def breaking(db):
        target, key = db.open_tree(line.target), line.target_key(row)
        # Every field says something else; where one ends stays.
        target.insert(key, bytes(b if b == 0xFF else b ^ 1 for b in target.get(key)))

    assert (line.source, row["key"]) in named_by(found(breaking, rule.find))


def named_by(findings):
    return {(finding.tree, finding.key) for finding in findings}


def test_most_of_the_rules_is_references():
    assert len(LINES) > 60
    assert len(AGREEING) > 20
