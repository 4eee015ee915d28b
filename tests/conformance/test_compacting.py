"""``compact`` changes nothing that anybody can read."""


def test_content_stays_through_compact(db, harness):
    tree = db.open_tree("key_value")
    for number in range(300):
        tree.insert(number.to_bytes(2), b"value %d" % number * 3)
    for number in range(300):
        if number % 7:
            tree.remove(number.to_bytes(2))
    before, checksum, sequence = list(tree), db.checksum(), db.sequence
    with db.snapshot() as view:
        db.compact()
        assert list(view.open_tree("key_value")) == list(tree) == before
    assert (db.checksum(), db.sequence) == (checksum, sequence)
    tree.insert(b"after", b"it")
    db.compact()
    checksum = db.checksum()
    db = harness.reopen(db)
    assert db.checksum() == checksum
    db.close()
