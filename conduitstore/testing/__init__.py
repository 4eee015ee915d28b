"""For tests, ours and yours: the memory engine as the oracle, and a disk that forgets."""

from conduitstore.engine.memory import MemoryDatabase

__all__ = ["MemoryDatabase"]
