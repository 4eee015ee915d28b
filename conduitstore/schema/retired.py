"""Tree names that Conduit's databases once had, and why nothing opens them any more."""

_TOMBSTONES = {
    "users, their profiles, devices and tokens moved to trees of other names":
        "users username_password profile_displayname profile_avatar_url userid_avatar_url "
        "userid_deviceids userdeviceid userdeviceids deviceid_token token_userid "
        "userdeviceid_devicekeys devicekeychangeid_userid userid_presenceupdate "
        "backupkeyid_backupmetadata servertimeout_signingkey",
    "interactive authentication no longer keeps requests, which held passwords":
        "userdeviceid_uiaainfo userdevicesessionid_uiaarequest",
    "membership moved to userroomid_ and roomuserid_ trees":
        "roomid_userids userid_roomids roomid_joinuserids userid_joinroomids roomid_inviteuserids "
        "userid_inviteroomids userid_leftroomids userroomid_invited roomuserid_invited "
        "userroomid_left",
    "events are kept by PduId, outliers by event id":
        "roomid_eventid_event pduid_pdus pduid_outlierpdu roomeventid_outlierpdu "
        "roomeventid_outlierpducount pduid_backfillpdu eventid_backfillpduid prevevent_parent "
        "fromto_relation",
    "room state is kept as differences between numbered states":
        "roomstateid_pdu roomstateid_pduid stateid_pduid pduid_statehash roomid_statehash "
        "eventid_shortstatehash statekey_short shortroomid_roomid stateid_shorteventid",
    "receipts moved, typing lives in memory":
        "globalallid_globalall globallatestid_globallatest roomlatestid_roomlatest "
        "timeofremoval_roomrelevants roomactiveid_roomactive roomactiveid_userid "
        "roomid_lastroomactiveupdate typingid_userid roomid_lasttypingupdate roomuserid_lastread "
        "roomid_lastprivatereadupdate roomuserid_presence roomuserid_presenceevent",
    "outgoing queues hold events of every kind now":
        "serverpduids servernamepduids servercurrentpdus servercurrentevents "
        "server_currenttransaction",
    "grew with every sync; the state at a token is read from the timeline instead":
        "roomsynctoken_shortstatehash",
    "receipts are found by thread too; ours, until schema version 2":
        "roomuserid_readreceiptcount",
    "media are found by the hash of their content":
        "mediaid_file",
}  # fmt: skip

RETIRED: dict[str, str] = {
    name: reason for reason, names in _TOMBSTONES.items() for name in names.split()
}
"""Tree names without a use, and why: left alone where they are met."""
