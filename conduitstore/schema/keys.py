"""Trees of end-to-end encryption, and the messages from device to device."""

from conduitstore.schema.tree import tree

_DEVICE = "user ff device:any"
_KEY = "user ff key:any"
_BACKUP = "user ff version:any"

KEYS = [
    tree("todeviceid_events", f"{_DEVICE} ff count:u64", "json", "to_device",
         "messages waiting for a device: type, sender, content",
         worth="primary", gone="to_device.forget_until devices.remove gc"),

    tree("keyid_key", _KEY, "json", "keys",
         "device keys by device id, cross-signing keys by public key; a device id that looks like "
         "a public key has one more = here, so that neither is taken for the other",
         worth="primary", gone="keys.add_cross_signing_keys devices.remove"),
    tree("userid_masterkeyid", "user", _KEY, "keys", "which key is the master key",
         worth="primary", gone="never: one row per user"),
    tree("userid_selfsigningkeyid", "user", _KEY, "keys", "which key signs the user's own devices",
         worth="primary", gone="never: one row per user"),
    tree("userid_usersigningkeyid", "user", _KEY, "keys", "which key signs other users",
         worth="primary", gone="never: one row per user"),
    tree("keychangeid_userid", "room_or_user ff count:u64", "text", "key_changes",
         "who has new keys, for those who share an encrypted room, and for the user",
         worth="primary", gone="key_changes.mark delete_room gc"),

    tree("onetimekeyid_onetimekeys", f"{_DEVICE} ff quoted_key_id", "json", "one_time_keys",
         'one-time keys; an id as JSON writes it: "algorithm:name" in quotes',
         worth="primary", gone="one_time_keys.claim one_time_keys.prune devices.remove"),
    tree("onetimekeyuploads", f"{_DEVICE} ff algorithm ff count:u64 ff name", "empty",
         "one_time_keys", "the same in the order of their upload, to be claimed from the front",
         worth="derived", gone="one_time_keys.claim one_time_keys.prune devices.remove", ours=True),
    tree("userid_lastonetimekeyupdate", "user", "u64", "one_time_keys",
         "when one of the user's devices last got or lost a one-time key",
         worth="primary", gone="never: one row per user"),
    tree("userdeviceidalgorithm_fallback", f"{_DEVICE} ff algorithm", "json", "one_time_keys",
         "what is handed out when no one-time key is left: key_id, key, used",
         worth="primary", gone="devices.remove", ours=True),

    tree("backupid_algorithm", _BACKUP, "json", "key_backups",
         "backups of room keys: algorithm and auth data; a version is the text of a count",
         worth="primary", gone="key_backups.delete"),
    tree("backupid_etag", _BACKUP, "u64", "key_backups", "when a backup last changed",
         worth="primary", gone="key_backups.delete"),
    tree("backupid_keystotal", _BACKUP, "u64", "key_backups",
         "how many keys a backup holds; ours, so that an upload counts nothing",
         worth="derived", gone="key_backups.delete", ours=True),
    tree("backupkeyid_backup", f"{_BACKUP} ff of_room ff session", "json", "key_backups",
         "the keys, encrypted by the client; the user's own, so they outlive the room",
         worth="primary", gone="key_backups.delete_keys key_backups.delete"),
]  # fmt: skip
