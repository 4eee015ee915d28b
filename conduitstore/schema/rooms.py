"""Trees of rooms as such: who is in them, what they are called, who may find them."""

from conduitstore.schema.tree import tree

ROOMS = [
    tree("userroomid_joined", "user ff room", "u64", "members",
         "rooms a user is in, and the count of the join",
         worth="derived", gone="rooms.members.mark_left delete_room"),
    tree("roomuserid_joined", "room ff user", "u64", "members", "the same by room",
         worth="derived", gone="rooms.members.mark_left delete_room"),
    tree("userroomid_invitestate", "user ff room", "json", "members",
         "open invites, with the stripped state shown to the user",
         worth="primary", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room"),
    tree("roomuserid_invitecount", "room ff user", "u64", "members", "when each invite came",
         worth="primary", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room"),
    tree("userroomid_knockstate", "user ff room", "json", "members",
         "open knocks, with the stripped state shown to the user",
         worth="primary", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room"),
    tree("roomuserid_knockcount", "room ff user", "u64", "members", "when each knock was made",
         worth="primary", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room"),
    tree("userroomid_leftstate", "user ff room", "json", "members",
         "rooms left and not forgotten, with the events that show why",
         worth="primary", gone="rooms.members.forget rooms.members.mark_joined "
         "delete_room"),
    tree("roomuserid_leftcount", "room ff user", "u64", "members", "when each was left",
         worth="primary", gone="rooms.members.forget rooms.members.mark_joined "
         "delete_room"),
    tree("roomuseroncejoinedids", "room ff user", "empty", "members",
         "who was ever in a room; here room first, as the name says",
         worth="primary", gone="delete_room"),
    tree("roomid_joinedcount", "room", "u64", "members", "how many are in the room",
         worth="derived", gone="rooms.members.mark_left delete_room"),
    tree("roomid_invitedcount", "room", "u64", "members", "how many invites are open",
         worth="derived", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room"),
    tree("roomid_knockedcount", "room", "u64", "members", "how many knocks are open",
         worth="derived", gone="rooms.members.mark_joined rooms.members.mark_left "
         "delete_room", ours=True),
    tree("roomid_inviteviaservers", "room", "servers", "sharing",
         "servers by way of which to join a room that is not here, joined by 0xFF",
         worth="primary", gone="delete_room", ours=True),
    tree("roomserverids", "room ff server", "empty", "members", "servers with someone in a room",
         worth="derived", gone="rooms.members.mark_left delete_room"),
    tree("serverroomids", "server ff room", "empty", "members", "the same by server",
         worth="derived", gone="rooms.members.mark_left delete_room"),
    tree("roomserverid_joinedcount", "room ff server", "u64", "members",
         "how many of a server are in a room; ours, so that a leave scans no members",
         worth="derived", gone="rooms.members.mark_left delete_room", ours=True),

    tree("alias_roomid", "localpart", "text", "alias",
         "the room an alias of this server stands for",
         worth="primary", gone="rooms.alias.remove delete_room"),
    tree("alias_userid", "localpart", "text", "alias", "who set it",
         worth="primary", gone="rooms.alias.remove delete_room"),
    tree("aliasid_alias", "room ff count:u64", "text", "alias", "a room's aliases, oldest first",
         worth="derived", gone="rooms.alias.remove delete_room"),
    tree("publicroomids", "room", "empty", "directory", "rooms shown to everybody",
         worth="primary", gone="rooms.directory.set_not_public delete_room"),
    tree("disabledroomids", "disabled_room", "empty", "metadata",
         "rooms this server takes no part in; outlives the room's purge",
         worth="primary", gone="rooms.metadata.enable"),
    tree("bannedroomids", "banned_room", "text", "metadata",
         "rooms that local users may not join, with the moderator or empty; outlives the purge",
         worth="primary", gone="rooms.metadata.unban", ours=True),
    tree("roomid_mindepth", "room", "u64", "metadata",
         "the lowest depth of an event seen, as the homeserver noted it, of events too that were "
         "not kept",
         worth="primary", gone="delete_room", ours=True),
    tree("lazyloadedids", "user ff device:any ff room ff member", "u64", "lazy_loading",
         "members a device was told of, and the next token of the sync that did; Conduit's are "
         "empty, the token is the forks'",
         worth="disposable", gone="rooms.lazy_loading.reset devices.remove delete_room "
         "gc"),
    tree("userdeviceroomid_lazyloadcount", "user ff device:any ff room", "u64", "lazy_loading",
         "the newest of those tokens in a room; ours, so that a lost answer is seen by one read",
         worth="disposable", gone="rooms.lazy_loading.reset devices.remove delete_room "
         "gc",
         ours=True),
]  # fmt: skip
