"""docs/testing.md lists every line of the engines that is exempt from coverage, and why."""

import re

ENGINE = "conduitstore/engine/"
PRAGMA = re.compile(r"#\s*pragma: no (?:cover|branch)(.*)")
ROW = re.compile(r"^\| `([\w/]+\.py)` \| (.+) \|$", re.MULTILINE)


def test_every_exemption_has_its_reason_in_place_and_on_the_page(root, tracked):
    section = (
        (root / "docs/testing.md").read_text().partition("## Coverage")[2].partition("\n## ")[0]
    )
    exempt = []
    for path in tracked:
        name = str(path.relative_to(root))
        if name.startswith(ENGINE) and path.suffix == ".py":
            for rest in PRAGMA.findall(path.read_text()):
                assert rest.startswith(" - "), f"{name}: a pragma needs its reason"
                exempt.append((name.removeprefix(ENGINE), rest.removeprefix(" - ").strip()))
    assert sorted(exempt) == sorted(ROW.findall(section))
    assert bool(exempt) != ("Nothing is, at present." in section)


def test_coverage_is_held(pyproject):
    measured = pyproject["tool"]["coverage"]
    assert (measured["run"]["branch"], measured["report"]["fail_under"]) == (True, 100)
