"""Trees of the server as a whole: counter, keys of servers, outgoing queues, appservices."""

from conduitstore.schema.tree import tree

SERVER = [
    tree("global", "name", "u64 or text", "globals",
         "single rows: c = newest count, version = schema version, lineage = whose schema, "
         "migrating = how far a migration is",
         worth="primary", gone="never: a handful of rows"),
]  # fmt: skip
