"""The catalogue for readers is the schema's, and Conduit's names are accounted for."""

import runpy

from conduitstore.schema import RETIRED, TREES

_CONDUITS = """
    global userid_password userid_displayname userid_avatarurl userid_blurhash userdeviceid_metadata
    userdeviceid_token userid_devicelistversion onetimekeyid_onetimekeys keyid_key
    userid_masterkeyid userid_selfsigningkeyid userid_usersigningkeyid keychangeid_userid
    userid_lastonetimekeyupdate todeviceid_events userfilterid_filter roomuserdataid_accountdata
    backupid_algorithm backupid_etag backupkeyid_backup roomuserid_privateread
    roomuserid_lastprivatereadupdate userroomid_notificationcount userroomid_highlightcount
    alias_roomid alias_userid publicroomids disabledroomids senderkey_pusher
    id_appserviceregistrations servernameevent_data servercurrentevent_data servername_educount
    servernamemediaid_metadata thumbnailid_metadata filehash_metadata blocked_servername_mediaid
    servernamemediaid_userlocalpart userroomid_invitestate userroomid_knockstate
    roomuserid_invitecount roomuserid_knockcount userroomid_leftstate roomuserid_leftcount
    roomuseroncejoinedids

    pduid_pdu eventid_outlierpdu readreceiptid_readreceipt server_signingkeys

    roomid_shortroomid eventid_shorteventid statekey_shortstatekey shortstatehash_statediff
    shorteventid_shortstatehash roomid_shortstatehash

    token_userdeviceid eventid_pduid shorteventid_eventid shortstatekey_statekey
    statehash_shortstatehash roomid_pduleaves referencedevents userroomid_joined roomuserid_joined
    roomid_joinedcount roomid_invitedcount roomserverids serverroomids roomusertype_roomuserdataid
    aliasid_alias tokenids tofrom_relation threadid_userids filehash_servername_mediaid
    filehash_thumbnailid servername_userlocalpart_mediaid

    shorteventid_authchain roomsynctoken_shortstatehash lazyloadedids presenceid_presence
    userid_lastpresenceupdate userdevicesessionid_uiaainfo openidtoken_expiresatuserid
    userdevicetxnid_response softfailedeventids

    roomuserid_lastnotificationread
"""

# This list only ever shrinks.
_MISSING = """
"""

CONDUITS, MISSING = _CONDUITS.split(), set(_MISSING.split())


def test_the_page_says_what_the_schema_says(root):
    page = runpy.run_path(str(root / "tools/make_trees_page.py"))["page"]()
    written = (root / "docs/trees.md").read_text()
    assert written == page, "run tools/make_trees_page.py"


def test_conduits_names_are_all_accounted_for():
    assert len(CONDUITS) == len(set(CONDUITS)) == 87
    assert set(CONDUITS) - TREES.keys() - RETIRED.keys() == MISSING


def test_what_is_not_conduits_says_so():
    assert {name for name, tree in TREES.items() if not tree.ours} <= set(CONDUITS)
    assert not {name for name, tree in TREES.items() if tree.ours} & set(CONDUITS)
