"""Every rule, by the number it is known by in ``docs/consistency.md``."""

from __future__ import annotations

from .aliases import unlisted
from .counts import above_the_counter, undecodable
from .devices import dehydrated_without_device
from .events import not_indexed, of_no_room
from .findings import Rule
from .keys import miscounted, out_of_order
from .media import MEDIA, miscounted_kinds, of_no_kind, unused
from .members import MEMBERSHIPS, wrong_totals
from .receipts import superseded_receipts
from .references import Reference, exclusive, mirrored, referring, together
from .rooms import disagreeing, misplaced_extremities, outdated, unfinished
from .state import meaningless, without_layers

RULES = [
    Rule(0, "Every row is what the schema says, and every tree is in it.", undecodable),
    Rule(1, "No count and no number is above the counter.", above_the_counter),
    Rule(2, "Event ids and timelines lead to each other; no timeline event is an outlier.",
         not_indexed),
    Rule(3, "Rooms have numbers of their own, and every number in a key is a room's.", together(
        referring(
            Reference("roomid_shortroomid", "shortroomid_room",
                      {"short_room": "value"}, value="key"),
            Reference("shortroomid_room", "roomid_shortroomid", {"room": "value"}, value="key"),
        ),
        of_no_room,
    )),
    Rule(4, "Short ids lead to each other in both directions.", referring(
        Reference("eventid_shorteventid", "shorteventid_eventid",
                  {"short_event": "value"}, value="key"),
        Reference("shorteventid_eventid", "eventid_shorteventid",
                  {"event": "value"}, value="key"),
        Reference("statekey_shortstatekey", "shortstatekey_statekey",
                  {"short_state_key": "value"}, value="key"),
        Reference("shortstatekey_statekey", "statekey_shortstatekey", key="value", value="key"),
        Reference("shorteventid_eventid", "shortstatekey_statekey",
                  {"short_state_key": "short_event"}, is_absent=True),
        Reference("shorteventid_shortstatehash", "shorteventid_eventid"),
        Reference("roomid_shortroomid", "shorteventid_eventid", key="value", is_absent=True),
        Reference("roomid_shortroomid", "shortstatekey_statekey", key="value", is_absent=True),
    )),
    Rule(5, "Every state that is named is there, four layers deep at most.", together(
        referring(*(
            Reference(naming, "shortstatehash_statediff", key="value")
            for naming in (
                "roomid_shortstatehash", "roomcount_shortstatehash",
                "shorteventid_shortstatehash", "statehash_shortstatehash",
            )
        )),
        without_layers,
    )),
    Rule(6, "A state is one event for each of its keys, and its hash leads to it.", meaningless),
    Rule(7, "A room with events has a state, its newest, and extremities among the events.",
         together(unfinished, outdated, misplaced_extremities)),
    Rule(8, "A user has one membership in a room, by user, by room and by its state.", together(
        referring(
            *(reference for pair in MEMBERSHIPS.items() for reference in mirrored(*pair)),
            *exclusive(*MEMBERSHIPS),
            Reference("roomuserid_joined", "roomuseroncejoinedids"),
        ),
        disagreeing,
    )),
    Rule(9, "Totals and servers are those of the members.", together(wrong_totals, referring(
        *mirrored("roomserverids", "serverroomids"),
        *mirrored("roomserverids", "roomserverid_joinedcount"),
    ))),
    Rule(10, "Devices and their tokens lead to each other.", referring(
        Reference("userdeviceid_token", "token_userdeviceid", {"token": "folded"}, value="key"),
        Reference("token_userdeviceid", "userdeviceid_token", value="key"),
        Reference("userdeviceid_token", "userdeviceid_metadata"),
        Reference("token_userdeviceid", "userdeviceid_metadata"),
        Reference("userdeviceid_tokenexpires", "userdeviceid_token"),
        Reference("userdeviceid_refresh", "refreshtoken_userdeviceid",
                  {"token": "value"}, value="key"),
        Reference("refreshtoken_userdeviceid", "userdeviceid_refresh", value="token"),
        Reference("userdeviceid_refresh", "userdeviceid_metadata"),
        Reference("userdeviceid_spentrefresh", "spentrefresh_userdeviceid",
                  {"token": "value"}, agrees={"user": "user", "device": "device"}),
        Reference("spentrefresh_userdeviceid", "userdeviceid_spentrefresh", value="token"),
        Reference("spentrefresh_userdeviceid", "userdeviceid_refresh", value="successor"),
    )),
    Rule(11, "What belongs to a device or a user has them; one-time keys have turns.", together(
        referring(
            Reference("todeviceid_events", "userdeviceid_metadata"),
            Reference("userdeviceid_metadata", "userid_password"),
            Reference("onetimekeyid_onetimekeys", "userdeviceid_metadata"),
            Reference("userdeviceidalgorithm_fallback", "userdeviceid_metadata"),
            Reference("senderkey_pusher", "userid_password"),
            Reference("senderkey_deviceid", "senderkey_pusher"),
            Reference("senderkey_deviceid", "userdeviceid_metadata", {"device": "value"}),
        ),
        dehydrated_without_device,
        out_of_order,
    )),
    Rule(12, "Account data and its index lead to each other.", referring(
        Reference("roomusertype_roomuserdataid", "roomuserdataid_accountdata", key="value"),
        Reference("roomuserdataid_accountdata", "roomusertype_roomuserdataid", value="key"),
    )),
    Rule(13, "A user has one receipt in a room and in each thread.", together(
        referring(Reference(
            "roomuserthreadid_readreceiptid", "readreceiptid_readreceipt")),
        superseded_receipts,
    )),
    Rule(14, "A key backup is whole, and says how many keys it holds.", together(
        referring(
            *mirrored("backupid_algorithm", "backupid_etag"),
            Reference("backupkeyid_backup", "backupid_algorithm"),
            *mirrored("backupid_algorithm", "backupid_keystotal"),
        ),
        miscounted,
    )),
    Rule(15, "Cross-signing roles name keys that are there.", referring(*(
        Reference(pointer, "keyid_key", key="value")
        for pointer in (
            "userid_masterkeyid", "userid_selfsigningkeyid", "userid_usersigningkeyid",
        )
    ))),
    Rule(16, "Media and files lead to each other; each file is used, and of one kind.", together(
        referring(*MEDIA), unused, of_no_kind, miscounted_kinds,
    )),
    Rule(17, "Aliases, who set them, and the rooms that list them name the same ones.", together(
        referring(*mirrored("alias_roomid", "alias_userid")),
        unlisted,
    )),
    Rule(18, "Nothing is both queued and being sent.", referring(
        *exclusive("servernameevent_data", "servercurrentevent_data"),
    )),
]  # fmt: skip
