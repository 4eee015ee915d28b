"""A C interface to the engine: a header, and a shared library with Python inside.

``conduitstore build-capi DIR`` writes both into a directory; see :mod:`.build`. The header,
``conduitstore.h``, says what each call does.
"""
