"""Trees of accounts: users, profiles, devices, tokens, account data."""

from conduitstore.schema.tree import tree

_DEVICE = "user ff device:any"
_ACCOUNT_DATA = "room:text ff user ff count:u64 ff type:any"

ACCOUNTS = [
    tree("userid_password", "user", "text", "users",
         "the accounts; password hash, empty = nobody can log in",
         worth="primary", gone="never: an account is deactivated, its id is not given again"),
    tree("userid_displayname", "user", "text", "users", "display names",
         worth="primary", gone="setting none"),
    tree("userid_avatarurl", "user", "text", "users", "avatars as mxc:// addresses",
         worth="primary", gone="setting none"),
    tree("userid_blurhash", "user", "text", "users", "what shows while the avatar loads",
         worth="primary", gone="setting none"),

    tree("userdeviceid_metadata", _DEVICE, "json", "devices", "the devices, as users see them",
         worth="primary", gone="removing the device"),
    tree("userdeviceid_token", _DEVICE, "text", "devices", "the access token of a device",
         worth="primary", gone="removing the device"),
    tree("token_userdeviceid", "token:any", _DEVICE, "devices", "whose access token it is",
         worth="derived", gone="replacing the token or removing the device"),
    tree("userid_devicelistversion", "user", "u64", "devices",
         "goes up with each change of a user's devices",
         worth="primary", gone="never: one row per user"),

    tree("roomuserdataid_accountdata", _ACCOUNT_DATA, "json", "account_data",
         "account data by count; no room = global",
         worth="primary", gone="the next value of its type; purging the room"),
    tree("roomusertype_roomuserdataid", "room:text ff user ff type:any", _ACCOUNT_DATA,
         "account_data", "where the live row of a type is",
         worth="derived", gone="purging the room"),

    tree("senderkey_pusher", "user ff pushkey:whole", "json", "pushers",
         "where a user's phones are told of messages, as the client set it",
         worth="primary", gone="removing the pusher or its device"),
    tree("senderkey_deviceid", "user ff pushkey:whole", "text", "pushers",
         "which device set a pusher",
         worth="primary", gone="with the pusher", ours=True),
    tree("userdevicetxnid_response", f"{_DEVICE} ff txn_id:any", "text", "transaction_ids",
         "the event id a request was answered with, or empty; no device = empty",
         worth="disposable", gone="time; removing the device"),
    tree("recordedms_userdevicetxnid", f"recorded_ms:u64 {_DEVICE} ff txn_id:any", "empty",
         "transaction_ids", "the same by time",
         worth="disposable", gone="time", ours=True),
    tree("userdevicesessionid_uiaainfo", f"{_DEVICE} ff session:any", "json", "uiaa",
         "interactive authentication under way",
         worth="disposable", gone="its end, or a day"),
    tree("expiresms_uiaasession", f"expires_ms:u64 {_DEVICE} ff session:any", "empty", "uiaa",
         "the same by the time it is over",
         worth="disposable", gone="with the session", ours=True),
]  # fmt: skip
