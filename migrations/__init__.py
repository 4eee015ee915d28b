"""Schema migrations, applied in the order of their numbers by ``conduitstore.migrate``.

Each module is named ``m0001_what_it_repairs`` and has a docstring saying why and what it reads, and
one function ``upgrade(tx)``. The runner calls it inside a transaction that also records its
number, so a crash leaves it either done or not begun. In the wheel this folder is
``conduitstore.migrations``.
"""
