"""Derived trees that hold the same facts as another one under another key."""

from __future__ import annotations

from conduitstore.consistency.references import Reference

from .derived import mirror

MIRRORS = [
    mirror(
        Reference("userdeviceid_token", "token_userdeviceid", {"token": "folded"}, value="key"),
        Reference("token_userdeviceid", "userdeviceid_token"),
    ),
    mirror(
        Reference("roomuserdataid_accountdata", "roomusertype_roomuserdataid", value="key"),
        Reference("roomusertype_roomuserdataid", "roomuserdataid_accountdata", key="value"),
    ),
    mirror(
        Reference(
            "eventid_shorteventid", "shorteventid_eventid", {"short_event": "value"}, value="key"
        ),
        Reference("shorteventid_eventid", "eventid_shorteventid", {"event": "value"}),
    ),
    mirror(
        Reference(
            "statekey_shortstatekey",
            "shortstatekey_statekey",
            {"short_state_key": "value"},
            value="key",
        ),
        Reference("shortstatekey_statekey", "statekey_shortstatekey", key="value"),
    ),
    mirror(
        Reference("roomid_shortroomid", "shortroomid_room", {"short_room": "value"}, value="key"),
        Reference("shortroomid_room", "roomid_shortroomid", {"room": "value"}),
    ),
    mirror(
        Reference("roomuserid_joined", "userroomid_joined", value="value"),
        Reference("userroomid_joined", "roomuserid_joined"),
    ),
    mirror(
        Reference("userroomid_joined", "roomuserid_joined", value="value"),
        Reference("roomuserid_joined", "userroomid_joined"),
    ),
    mirror(
        Reference("roomserverids", "serverroomids"),
        Reference("serverroomids", "roomserverids"),
    ),
    mirror(
        Reference(
            "userdeviceid_refresh", "refreshtoken_userdeviceid", {"token": "value"}, value="key"
        ),
        Reference("refreshtoken_userdeviceid", "userdeviceid_refresh"),
    ),
    mirror(
        Reference("servernamemediaid_metadata", "filehash_servername_mediaid"),
        Reference("filehash_servername_mediaid", "servernamemediaid_metadata"),
    ),
    mirror(
        Reference("thumbnailid_metadata", "filehash_thumbnailid"),
        Reference("filehash_thumbnailid", "thumbnailid_metadata"),
    ),
    mirror(
        Reference(
            "servernamemediaid_userlocalpart",
            "servername_userlocalpart_mediaid",
            {"localpart": "value"},
        ),
        Reference("servername_userlocalpart_mediaid", "servernamemediaid_userlocalpart"),
    ),
    mirror(
        Reference("mediaid_pending", "userid_pending", value="expires_ms"),
        Reference("userid_pending", "mediaid_pending"),
    ),
    mirror(
        Reference("mediaid_pending", "expiresms_mediaid"),
        Reference("expiresms_mediaid", "mediaid_pending"),
    ),
]
