"""Trees of accounts: users, profiles, devices, tokens, account data."""

from conduitstore.schema.tree import tree

_DEVICE = "user ff device:any"
_ACCOUNT_DATA = "room:text ff user ff count:u64 ff type:any"

ACCOUNTS = [
    tree("userid_password", "user", "text", "users",
         "the accounts; password hash, empty = nobody can log in",
         worth="primary", gone="never: an account is deactivated, its id is not given "
         "again"),
    tree("userid_displayname", "user", "text", "users", "display names",
         worth="primary", gone="users.set_displayname"),
    tree("userid_avatarurl", "user", "text", "users", "avatars as mxc:// addresses",
         worth="primary", gone="users.set_avatar_url"),
    tree("userid_blurhash", "user", "text", "users", "what shows while the avatar loads",
         worth="primary", gone="users.set_blurhash"),

    tree("useridprofilekey_value", "user ff field", "json", "profiles",
         "other fields of profiles: time zone and whatever clients agree on; the forks'",
         worth="primary", gone="profiles.remove profiles.clear", ours=True),
    tree("userid_origin", "user", "text", "users",
         "how the account logs in: password, ldap or sso; absent = password; tuwunel's",
         worth="primary", gone="never: one row per account", ours=True),
    tree("remoteuserid_remoteuser", "user", "empty", "users",
         "users of other servers that were seen; continuwuity's",
         worth="disposable", gone="users.forget_remote gc", ours=True),
    tree("userid_suspended", "user", "json", "restrictions",
         "accounts that may only read: when, by; tuwunel's",
         worth="primary", gone="restrictions.lift", ours=True),
    tree("userid_locked", "user", "json", "restrictions",
         "accounts whose tokens do not work for now: when, by; tuwunel's",
         worth="primary", gone="restrictions.lift", ours=True),
    tree("userid_logindisabled", "user", "empty", "restrictions",
         "accounts that cannot log in anew; continuwuity's",
         worth="primary", gone="restrictions.enable_login", ours=True),
    tree("userid_erased", "user", "u64", "restrictions",
         "whose events are to be hidden from whoever was not there yet, and since when; tuwunel's",
         worth="primary", gone="restrictions.unerase", ours=True),

    tree("userdeviceid_metadata", _DEVICE, "json", "devices", "the devices, as users see them",
         worth="primary", gone="devices.remove"),
    tree("userdeviceid_token", _DEVICE, "text", "devices", "the access token of a device",
         worth="primary", gone="devices.set_token devices.remove_tokens devices.remove "
         "gc"),
    tree("token_userdeviceid", "token:any", _DEVICE, "devices", "whose access token it is",
         worth="derived", gone="devices.set_token devices.remove_tokens devices.remove "
         "gc"),
    tree("userid_devicelistversion", "user", "u64", "devices",
         "goes up with each change of a user's devices",
         worth="primary", gone="never: one row per user"),

    tree("userdeviceid_tokenexpires", _DEVICE, "u64", "devices",
         "until when the access token works, Unix seconds; continuwuity's",
         worth="primary", gone="devices.set_token devices.remove_tokens devices.remove "
         "gc", ours=True),
    tree("userid_dehydrateddevice", "user", "json", "dehydrated_devices",
         "the device that receives while the user has no other (MSC3814): device_id, device_data",
         worth="primary", gone="dehydrated_devices.remove devices.remove", ours=True),

    tree("userdeviceid_refresh", _DEVICE, "text", "refresh_tokens",
         "the refresh token of a device; tuwunel's",
         worth="primary", gone="refresh_tokens.spend devices.remove_tokens "
         "devices.remove", ours=True),
    tree("refreshtoken_userdeviceid", "token", _DEVICE, "refresh_tokens",
         "whose refresh token it is; ours: apart from access tokens, for which it is no good",
         worth="derived", gone="refresh_tokens.spend devices.remove_tokens "
         "devices.remove", ours=True),
    tree("userdeviceid_spentrefresh", _DEVICE, "text", "refresh_tokens",
         "the refresh token that was used last; tuwunel's",
         worth="primary", gone="refresh_tokens.spend devices.remove_tokens devices.remove "
         "gc", ours=True),
    tree("spentrefresh_userdeviceid", "token", f"{_DEVICE} ff successor ff spent_ms:u64",
         "refresh_tokens", "what took its place, and when: a second use is a theft; tuwunel's",
         worth="derived", gone="refresh_tokens.spend devices.remove_tokens devices.remove "
         "gc", ours=True),

    tree("openidtoken_expiresatuserid", "token:any", "expires_ms:u64 user", "tokens",
         "tokens that tell a third party who somebody is",
         worth="disposable", gone="tokens.forget_expired users.deactivate gc"),
    tree("logintoken_expiresatuserid", "token:any", "expires_ms:u64 ff user", "tokens",
         "tokens that log in once; the forks'",
         worth="disposable", gone="tokens.use_login tokens.forget_expired users.deactivate "
         "gc", ours=True),
    tree("userfilterid_filter", "user ff filter", "json", "filters",
         "what clients want of a sync; the id is a hash of the filter",
         worth="primary", gone="filters.forget_user users.deactivate"),

    tree("roomuserdataid_accountdata", _ACCOUNT_DATA, "json", "account_data",
         "account data by count; no room = global",
         worth="primary", gone="account_data.update account_data.erase_user delete_room"),
    tree("roomusertype_roomuserdataid", "room:text ff user ff type:any", _ACCOUNT_DATA,
         "account_data", "where the live row of a type is",
         worth="derived", gone="account_data.erase_user delete_room"),

    tree("senderkey_pusher", "user ff pushkey:whole", "json", "pushers",
         "where a user's phones are told of messages, as the client set it",
         worth="primary", gone="pushers.remove devices.remove users.deactivate"),
    tree("senderkey_deviceid", "user ff pushkey:whole", "text", "pushers",
         "which device set a pusher",
         worth="primary", gone="pushers.remove devices.remove users.deactivate", ours=True),
    tree("userdevicetxnid_response", f"{_DEVICE} ff txn_id:any", "text", "transaction_ids",
         "the event id a request was answered with, or empty; no device = empty",
         worth="disposable", gone="transaction_ids.forget_before devices.remove "
         "users.deactivate gc"),
    tree("userdevicetxnid_recordedms", f"{_DEVICE} ff txn_id:any", "u64", "transaction_ids",
         "when that was, Unix milliseconds",
         worth="disposable", gone="transaction_ids.forget_before devices.remove "
         "users.deactivate gc", ours=True),
    tree("userdevicesessionid_uiaainfo", f"{_DEVICE} ff session:any", "json", "uiaa",
         "interactive authentication under way",
         worth="disposable", gone="uiaa.update_session uiaa.forget_expired devices.remove "
         "users.deactivate gc"),
    tree("expiresms_uiaasession", f"expires_ms:u64 {_DEVICE} ff session:any", "empty", "uiaa",
         "the same by the time it is over",
         worth="disposable", gone="uiaa.update_session uiaa.forget_expired devices.remove "
         "users.deactivate gc", ours=True),
]  # fmt: skip
