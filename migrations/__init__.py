"""Schema migrations, applied in the order of their numbers by ``conduitstore.migrate``.

Each module is named ``m0001_what_it_repairs`` and has a docstring saying why and what it reads, and
one or both of:

- ``rows``: tree to ``function(tx, key, value)``, called for every row of the tree, some rows a
  commit. The place to go on from is part of each commit, so every row goes through once, whatever
  dies in between. The function decodes before it writes: a row that raises ``CorruptedError`` is
  left alone, counted and told. Opening a store refuses such a step where there are rows for it.
- ``upgrade(tx)``: one commit together with the version, after all rows.

What is migrated away from is left where it is; a later step removes it. A tree that is an index has
``conduitstore rebuild`` besides. In the wheel this folder is ``conduitstore.migrations``.
"""
