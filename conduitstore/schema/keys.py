"""Trees of end-to-end encryption, and the messages from device to device."""

from conduitstore.schema.tree import tree

_DEVICE = "user ff device:any"
_KEY = "user ff key:any"

KEYS = [
    tree("todeviceid_events", f"{_DEVICE} ff count:u64", "json", "to_device",
         "messages waiting for a device: type, sender, content",
         worth="primary", gone="the device's next sync, or its removal"),

    tree("keyid_key", _KEY, "json", "keys",
         "device keys by device id, cross-signing keys by public key; a device id that looks like "
         "a public key has one more = here, so that neither is taken for the other",
         worth="primary", gone="removing the device; a new key in the same role"),
    tree("userid_masterkeyid", "user", _KEY, "keys", "which key is the master key",
         worth="primary", gone="never: one row per user"),
    tree("userid_selfsigningkeyid", "user", _KEY, "keys", "which key signs the user's own devices",
         worth="primary", gone="never: one row per user"),
    tree("userid_usersigningkeyid", "user", _KEY, "keys", "which key signs other users",
         worth="primary", gone="never: one row per user"),
    tree("keychangeid_userid", "room_or_user ff count:u64", "text", "keys",
         "who has new keys, for those who share an encrypted room, and for the user",
         worth="primary", gone="the user's next change; purging the room"),
]  # fmt: skip
