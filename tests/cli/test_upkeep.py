"""rebuild, gc, delete-room."""

from conduitstore import engine


def test_rebuild_mends_what_it_is_told_to(cli, filled):
    with engine.open(filled) as db:
        db.open_tree("token_userdeviceid").remove(b"token")
        db.open_tree("shortroomid_room").clear()
    result = cli("rebuild", "token_userdeviceid", "serverroomids", "--path", filled)
    assert result.stdout == "token_userdeviceid: 1 rows mended\nserverroomids: was right\n"
    result = cli("rebuild", "--path", filled)
    assert "shortroomid_room: 1 rows mended\n" in result.stdout
    assert "token_userdeviceid: was right\n" in result.stdout
    assert cli("check", "--path", filled).exit_code == 0


def test_rebuild_refuses_what_follows_from_nothing(cli, filled):
    result = cli("rebuild", "pduid_pdu", "--path", filled)
    assert result.exit_code == 1
    assert "nothing to rebuild it from" in result.stderr
