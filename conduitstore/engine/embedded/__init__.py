"""The embedded engine: a copy-on-write B+ tree over log-structured segments and a write-ahead log."""
