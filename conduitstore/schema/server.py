"""Trees of the server as a whole: counter, keys of servers, outgoing queues, appservices."""

from conduitstore.schema.tree import tree

_QUEUED = "destination:destination ff item:queued"

SERVER = [
    tree("global", "name", "u64 or text", "globals",
         "single rows: c = newest count, version = schema version, lineage = whose schema, "
         "migrating = how far a migration is, keypair = this server's signing key, "
         "u = newest announcement shown",
         worth="primary", gone="never: a handful of rows"),
    tree("server_signingkeys", "server", "json", "server_keys", "the keys other servers sign with",
         worth="shared", gone="never: one row for each server ever met, and old events "
         "need old keys"),

    tree("id_appserviceregistrations", "id", "text", "appservices",
         "registrations of application services, as YAML",
         worth="primary", gone="appservices.unregister"),
    tree("servernameevent_data", _QUEUED, "queued edu", "sending",
         "what waits to be sent: empty = the event at that PduId, otherwise an EDU's JSON",
         worth="primary", gone="sending.mark_active sending.forget_all delete_room gc"),
    tree("servercurrentevent_data", _QUEUED, "queued edu", "sending",
         "what is being sent, and is sent again after a restart",
         worth="primary", gone="sending.forget_active sending.forget_all delete_room gc"),
    tree("servername_educount", "server", "u64", "sending",
         "up to which count EDUs were selected for a server",
         worth="primary", gone="never: one row per server, and starting again repeats "
         "EDUs"),
    tree("servername_backoff", "server", "record", "backoff",
         "failures in a row of sending to a server, and the last one's time; ours",
         worth="disposable", gone="backoff.record_success backoff.forget_before gc", ours=True),
]  # fmt: skip
