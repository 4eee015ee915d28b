"""Check, verify, recover, backup, restore, compact, export, import-stream, stats."""

import json
import os
import re

import pytest

import conduitstore
from conduitstore import engine
from conduitstore.engine import embedded
from conduitstore.engine.embedded import names
from conduitstore.engine.transfer import IMPORT_MARK
from conduitstore.errors import InvalidArgumentError
from conduitstore.files import DirectoryFiles
from conduitstore.types import Mxc


def checksum_of(path):
    with engine.open(path) as db:
        return db.checksum()


def spoil(path, pattern, at=-3):
    """Change a byte of the newest file of a kind."""
    file = max(path.glob(pattern))
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    return file.name


def test_a_whole_store_has_no_violation(cli, filled):
    for command, said in (("verify", "no damage\n"), ("check", "no violation\n")):
        result = cli(command, "--path", filled)
        assert (result.exit_code, result.output) == (0, said)


def test_damage_is_named_and_sets_the_status(cli, filled):
    name = spoil(filled, "segment-*")
    for command in ("verify", "check"):
        result = cli(command, "--path", filled)
        assert result.exit_code == 1
        assert name in result.stdout
        assert "; tree '" in result.stdout
        assert result.stderr.startswith("1 ")


def test_a_damaged_manifest_hides_no_other_damage(cli, filled):
    found = [spoil(filled, "manifest-*", at=80), spoil(filled, "segment-*")]
    for command in ("verify", "check"):
        result = cli(command, "--path", filled)
        assert result.exit_code == 1
        assert f"{found[0]}, bytes 64 to " in result.stdout
        assert f"{found[1]}, bytes " in result.stdout
        assert result.stderr == f"2 {'damage' if command == 'verify' else 'violation'}s\n"


def test_check_names_what_does_not_decode(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("eventid_pduid").insert(b"$x", b"short")
        db.open_tree("pduid_pdu").insert(b"key", b"{}")
        db.open_tree("my_own").insert(b"a", b"b")
    result = cli("check", "--path", filled)
    assert result.exit_code == 1
    assert "my_own: no part has this tree" in result.stdout
    assert "pduid_pdu: b'key'" in result.stdout
    assert "eventid_pduid: b'$x'" in result.stdout
    assert result.stderr == "3 violations\n"


def test_backup_and_restore(cli, filled, tmp_path):
    checksum = checksum_of(filled)
    first = cli("backup", tmp_path / "b", "--path", filled)
    assert first.exit_code == 0
    assert " 0 bytes copied" in cli("backup", tmp_path / "b", "--path", filled).output
    restored = cli("restore", tmp_path / "b", "--path", tmp_path / "r")
    assert restored.exit_code == 0
    assert checksum_of(tmp_path / "r") == checksum
    with conduitstore.open(tmp_path / "r") as store:
        assert store.globals.current_count() > 1 << 32
    again = cli("restore", tmp_path / "b", "--path", tmp_path / "r")
    assert again.exit_code == 1
    assert "already holds a store" in again.stderr


def test_recover_mends_from_a_backup_and_says_so(cli, filled, tmp_path):
    checksum = checksum_of(filled)
    cli("backup", tmp_path / "b", "--path", filled)
    checksum_of(filled)
    name = spoil(filled, "segment-*")
    lost = cli("recover", "--path", filled)
    assert lost.exit_code == 1
    assert name in lost.stdout
    assert "not repaired" in lost.stdout
    mended = cli("recover", "--path", filled, "--backup", tmp_path / "b")
    assert mended.exit_code == 0
    assert "repaired from the backup" in mended.stdout
    assert "nothing to recover" in mended.stdout
    assert checksum_of(filled) == checksum


def test_export_and_import_stream(cli, filled, tmp_path):
    for level in ("0", "3"):
        file = tmp_path / f"stream{level}"
        assert cli("export", file, "--path", filled, "--level", level).exit_code == 0
        result = cli("import-stream", file, "--path", tmp_path / level)
        assert result.exit_code == 0
        assert f"checksum {checksum_of(filled):08x}" in result.output
        assert checksum_of(tmp_path / level) == checksum_of(filled)
    file.write_bytes(file.read_bytes()[:-1])
    result = cli("import-stream", file, "--path", tmp_path / "cut")
    assert result.exit_code == 1
    assert "stream is damaged at byte" in result.stderr
    assert cli("import-stream", file).exit_code == 2


def test_half_an_import_is_no_store(tmp_path):
    with embedded.open(tmp_path / "s") as db:
        db.open_tree(IMPORT_MARK)
    with pytest.raises(InvalidArgumentError, match="part of an import"):
        conduitstore.open(tmp_path / "s")


def test_stats(cli, filled):
    result = cli("stats", "--path", filled)
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[-1] for line in result.output.splitlines() if line}
    assert int(lines["size_on_disk_bytes"].replace(",", "")) > 1_000
    assert "pduid_pdu" in lines


@pytest.mark.parametrize(
    "command", ["check", "verify", "recover", "stats", "export", "backup target"]
)
def test_where_there_is_no_store_none_is_made(cli, tmp_path, command):
    result = cli(*command.split(), "--path", tmp_path / "none")
    assert result.exit_code == 1
    assert "there is no store" in result.stderr
    assert not (tmp_path / "none").exists()


def test_compact_gives_space_back(cli, path):
    with engine.open(path) as db:
        for number in range(2_000):
            db.insert(number.to_bytes(2), os.urandom(200))
        db.checkpoint()
        for number in range(0, 2_000, 2):
            db.remove(number.to_bytes(2))
    result = cli("compact", "--path", path)
    before, after = (int(n.replace(",", "")) for n in re.findall(r"[\d,]{4,}", result.stdout))
    assert result.exit_code == 0
    assert after < before
    with engine.open(path, read_only=True) as db:
        assert len(db) == 1_000


def test_check_names_the_rule_that_is_broken(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("token_userdeviceid").remove(b"token")
        db.open_tree("my_own").insert(b"a\xff", b"b")
    result = cli("check", "--path", filled)
    assert "rule 10: userdeviceid_token: b'@alice:example.org\\xffPHONE/1': " in result.stdout
    lines = cli("check", "--json", "--path", filled).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [(violation["rule"], violation["tree"]) for violation in found] == [
        (0, "my_own"),
        (10, "userdeviceid_token"),
    ]
    assert found[0]["key"] is None
    assert found[1]["key"] == "@alice:example.org\\xffPHONE/1"


def test_check_gives_damage_as_json_too(cli, filled):
    name = spoil(filled, "segment-*")
    (line,) = cli("check", "--json", "--path", filled).stdout.splitlines()
    assert json.loads(line)["file"] == name


# Recovery that may lose something -----------------------------------------------------------------


def damaged_log(path):
    """A store whose log is damaged in the middle; gives the log's name."""
    db = embedded.open(path, flush_every_ms=None)
    for number in range(9):
        db.insert(bytes([number]), b"value")
        db.flush()
    name = names.numbered(names.LOG, db.log.number)
    db.abandon()
    data = bytearray((path / name).read_bytes())
    data[200] ^= 1
    (path / name).write_bytes(data)
    return name


def test_a_damaged_log_is_refused_with_a_way_out(cli, path):
    name = damaged_log(path)
    result = cli("recover", "--path", path)
    assert result.exit_code == 1
    assert name in result.stderr
    assert "prefix and salvage" in result.stderr


@pytest.mark.parametrize(("mode", "kept"), [("prefix", 4), ("salvage", 8)])
def test_recover_says_what_it_would_lose_and_asks(cli, path, mode, kept):
    name = damaged_log(path)
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.name != names.LOCK}
    for answer in ("n\n", ""):
        refused = cli("recover", "--path", path, "--mode", mode, stdin=answer)
        assert refused.exit_code == 1
        assert "commits are known to be lost" in refused.stdout
        assert f"kept aside: {name}.damaged" in refused.stdout
        after = {file.name: file.read_bytes() for file in path.iterdir()}
        assert {n: after[n] for n in before} == before, "nothing is done without a yes"
    done = cli("recover", "--path", path, "--mode", mode, stdin="y\n")
    assert done.exit_code == 0
    assert (path / f"{name}.damaged").exists()
    with engine.open(path) as db:
        assert len(db) == kept
    again = cli("recover", "--path", path, "--mode", mode)
    assert (again.exit_code, again.stderr) == (0, ""), "a whole store needs no yes"


def test_yes_is_an_answer(cli, path):
    damaged_log(path)
    result = cli("recover", "--path", path, "--mode", "prefix", "--yes")
    assert result.exit_code == 0
    assert "history is kept up to commit 4" in result.stdout


def test_salvage_needs_no_manifest(cli, filled):
    checksum = checksum_of(filled)
    for manifest in filled.glob("manifest-*"):
        manifest.unlink()
    assert cli("recover", "--path", filled).exit_code == 1
    refused = cli("recover", "--path", filled, "--mode", "prefix", "--yes")
    assert refused.exit_code == 1
    assert "salvage" in refused.stderr
    done = cli("recover", "--path", filled, "--mode", "salvage", "--yes")
    assert done.exit_code == 0
    assert "nothing can be repaired" in done.stdout
    assert checksum_of(filled) == checksum


def test_check_reads_the_files_of_media_and_makes_none(cli, filled, tmp_path):
    media = tmp_path / "media"
    with conduitstore.open(filled, media_files=DirectoryFiles(media)) as store:
        file = store.media.files.upload(Mxc("one.test", "m"), [b"content"])
        store.media.files.upload(Mxc("one.test", "n"), [b"other"])
    (media / "unfinished").rmdir()
    assert cli("check", "--path", filled, "--media", media).exit_code == 0
    assert not (media / "unfinished").exists()
    DirectoryFiles(media).remove(file)
    result = cli("check", "--path", filled, "--media", media)
    assert result.exit_code == 1
    assert "rule 16: filehash_metadata: " in result.stdout
    assert "the file is not there" in result.stdout
