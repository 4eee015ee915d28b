"""Marks on events that the homeserver sets."""


def test_marks(store):
    metadata = store.rooms.pdu_metadata
    metadata.mark_soft_failed("$1")
    metadata.mark_rejected("$2")
    assert metadata.is_soft_failed("$1")
    assert not metadata.is_rejected("$1")
    assert metadata.is_rejected("$2")
    assert (metadata.clear_soft_failed("$1"), metadata.clear_soft_failed("$1")) == (True, False)
    assert (metadata.clear_rejected("$2"), metadata.clear_rejected("$2")) == (True, False)
    assert not metadata.is_soft_failed("$1")
