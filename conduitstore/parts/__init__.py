"""Parts: Matrix meaning, typed in and out, over the trees of one keyspace."""
