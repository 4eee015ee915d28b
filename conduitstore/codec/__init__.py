"""Values to bytes and back: pure functions, no I/O."""
