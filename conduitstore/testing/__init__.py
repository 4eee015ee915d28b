"""For tests, ours and yours: the memory engine as the oracle, and a disk that forgets."""
