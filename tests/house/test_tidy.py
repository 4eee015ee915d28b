"""The house rules that a reader would otherwise have to check by eye."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FILE_LINES_MAX = 400
# Joined here, so that this file does not name what it looks for.
MACHINE_PATHS = re.compile("|".join(["/" + "work/", "/" + "home/", "/" + "root/", "/" + "Users/"]))
SPEED_FIGURE = re.compile(
    r"\d[\d.,]*\s?(k|M|million|billion)?\s?"
    r"(/s\b|per second|a second|times (as fast|faster|quicker)|x (faster|quicker)|[µun]s\b)"
)
OUTSIDE_THE_LAYERS = {
    "__init__": "the public names",
    "__main__": "the command line's other door",
    "version": "a constant",
    "testing": "what tests import",
}


def test_no_file_of_code_is_too_long(tracked):
    lengths = {
        str(path): len(path.read_text().splitlines()) for path in tracked if path.suffix == ".py"
    }
    assert {name: n for name, n in lengths.items() if n > FILE_LINES_MAX} == {}


def test_nothing_names_a_path_of_somebodys_machine(text_files):
    found = [
        f"{path}: {match.group()}"
        for path in text_files
        for match in MACHINE_PATHS.finditer(path.read_text())
    ]
    assert found == []


def links_of(markdown):
    """Targets of links, code blocks left out."""
    text = re.sub(r"```.*?```|^    .*$", "", markdown.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def headings_of(markdown):
    """Headings as links name them."""
    titles = re.findall(r"^#+ (.+)$", markdown.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere(tracked):
    dead = []
    for markdown in (path for path in tracked if path.suffix == ".md"):
        for link in links_of(markdown):
            if link.startswith(("https://", "http://", "mailto:")):
                continue
            name, _, heading = link.partition("#")
            target = (markdown.parent / name).resolve() if name else markdown
            if not target.exists() or (heading and heading not in headings_of(target)):
                dead.append(f"{markdown}: {link}")
    assert dead == []


def test_documents_hold_no_figure_about_speed(tracked):
    found = [
        f"{path}: {match.group()}"
        for path in tracked
        if path.suffix == ".md"
        for match in SPEED_FIGURE.finditer(path.read_text())
    ]
    assert found == []


def test_the_glossary_gives_each_term_one_meaning(root):
    terms = re.findall(r"^\| \*\*(.+?)\*\*", (root / "docs/glossary.md").read_text(), re.MULTILINE)
    assert len(terms) > 30
    assert len(set(terms)) == len(terms)


def test_the_changelog_says_what_became_of_the_format(root):
    changelog = (root / "CHANGELOG.md").read_text()
    releases = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    assert releases[0].startswith("[Unreleased]")
    for release in releases:
        assert "### On-disk format" in release


def test_every_command_and_option_is_documented(root):
    app = pytest.importorskip("conduitstore.cli.app").app
    document = (root / "docs/cli.md").read_text()
    for name, command in app.commands.items():
        section = document.split(f"\n## {name}\n")[1].split("\n## ")[0]
        usage = re.search(rf"^    conduitstore {name}.*$", section, re.MULTILINE).group()
        for parameter in command.params:
            names = (
                parameter.opts
                if parameter.param_type_name == "option"
                else [parameter.human_readable_name]
            )
            for word in names:
                assert word in usage, f"{name} {word}"
    assert set(re.findall(r"^## ([\w-]+)$", document, re.MULTILINE)) == set(app.commands)


def test_every_kind_of_refusal_is_documented(root):
    source = (root / "conduitstore/importer.py").read_text()
    kinds = set(re.findall(r'_refuse\(\s*"([^"]+)"', source)) | {"over-long line", "damaged stream"}
    table = (root / "docs/cli.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == kinds


def test_every_folder_of_tests_is_documented(root, tracked):
    tests = root / "tests"
    code = [path for path in tracked if path.suffix == ".py" and tests in path.parents]
    folders = {path.relative_to(root).parts[1] for path in code if path.parent != tests}
    document = (root / "CONTRIBUTING.md").read_text()
    named = re.findall(r"^\| (`tests/.+?) \|", document, re.MULTILINE)
    assert sorted(re.findall(r"`tests/(\w+)`", " ".join(named))) == sorted(folders)


# Makefile and continuous integration ------------------------------------------------------------


def targets_of(makefile):
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_bare_make_lists_every_target(root):
    outside = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    listing = subprocess.run(
        ["make"], cwd=root, env=outside, capture_output=True, text=True, check=True
    ).stdout
    listed = re.findall(r"^make ([a-z]+) +\S", listing, re.MULTILINE)
    assert set(listed) == targets_of((root / "Makefile").read_text())
    assert {"demo", "test", "lint", "types", "bench", "crash", "fmt"} <= set(listed)


@pytest.mark.parametrize(
    "document", [".ci/run", ".github/workflows/ci.yml", "CONTRIBUTING.md", "README.md"]
)
def test_what_documents_make_is_there_to_be_made(root, document):
    text = (root / document).read_text()
    made = re.findall(r"(?:^|`|- run: |\s{4})make ((?:[A-Z]+=\S+ )?[a-z]+)", text, re.MULTILINE)
    targets = targets_of((root / "Makefile").read_text())
    assert {words.split()[-1] for words in made} <= targets


def test_the_pythons_we_name_are_the_pythons_we_test(root, pyproject):
    classifiers = pyproject["project"]["classifiers"]
    named = {c.rpartition(" :: ")[2] for c in classifiers if "Python :: 3." in c}
    workflow = (root / ".github/workflows/ci.yml").read_text()
    matrix = re.search(r"python: \[(.+)\]", workflow).group(1)
    assert set(re.findall(r"[\d.]+", matrix)) == named
    oldest = min(named, key=lambda version: int(version.partition(".")[2]))
    assert pyproject["project"]["requires-python"] == f">={oldest}"


# Packages and layers ----------------------------------------------------------------------------


def test_every_package_is_shipped(root, pyproject):
    found = {
        ".".join(path.parent.relative_to(root).parts)
        for path in (root / "conduitstore").rglob("__init__.py")
    }
    shipped = pyproject["tool"]["setuptools"]["packages"]
    assert set(shipped) == found | {"conduitstore.migrations"}


def test_every_module_has_its_place_in_the_layers(root, pyproject):
    contract = pyproject["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    modules = {
        path.stem
        for path in (root / "conduitstore").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {f"conduitstore.{name}" for name in modules - OUTSIDE_THE_LAYERS.keys()} == placed


def test_imports_point_down(root):
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_only_one_module_of_the_engine_touches_files(root):
    """What goes round ``files.py`` goes round the simulated disk."""
    touching = re.compile(
        r"^\s*(?:import|from) (?:pathlib|io|shutil|tempfile|mmap|fcntl)\b"
        r"|\bos\.(?!PathLike|fsdecode|getpid|urandom|register_at_fork)\w+"
        r"|(?<![\w.])open\(",
        re.MULTILINE,
    )
    engine = root / "conduitstore/engine/embedded"
    found = {
        path.name: touching.findall(re.sub(r"def open\(", "", path.read_text()))
        for path in sorted(engine.glob("*.py"))
    }
    assert found.pop("files.py")
    assert found.pop("mounts.py"), "it reads no store: only what the system says of a directory"
    assert {name: calls for name, calls in found.items() if calls} == {}
