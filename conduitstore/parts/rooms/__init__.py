"""The parts of a room: short ids, timeline, membership, receipts."""
