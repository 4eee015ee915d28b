"""The data layer of a Matrix homeserver: an ordered key-value engine and typed parts over it."""
