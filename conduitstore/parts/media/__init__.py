"""Media: the rows about them are here, the bytes in the store's files (``near.beside.files``)."""
