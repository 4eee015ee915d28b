"""Media: the same bytes under many names, blocked ones, and names kept for what is to come."""

from conduitstore.types import Mxc

from .base import BOTH, USER_IDS, Base, act

MEDIA = [Mxc("one.test", f"m{number}") for number in range(4)]
CONTENTS = range(3)


class Media(Base):
    """Which content is behind each name, and which contents are there."""

    def __init__(self):
        super().__init__()
        self.media, self.there, self.blocked, self.reserved = {}, set(), set(), {}

    @act(mxc=MEDIA, content=CONTENTS)
    def upload(self, mxc, content):
        user = USER_IDS[0]
        self.do(lambda p: p.media.files.upload(mxc, [b"content", b"%d" % content], uploader=user))
        old, self.media[mxc] = self.media.get(mxc), content
        if not self.is_blocked(content):
            self.there.add(content)
        if old not in (None, content):
            self.settle(old)

    def is_blocked(self, content):
        return any(self.media.get(mxc) == content for mxc in self.blocked)

    def settle(self, content):
        """Content goes with its last name; names of content that is gone, unless it is blocked."""
        if content not in self.media.values():
            self.there.discard(content)
        elif content not in self.there and not self.is_blocked(content):
            self.media = {mxc: other for mxc, other in self.media.items() if other != content}

    @act(mxc=MEDIA)
    def purge(self, mxc):
        self.do(lambda p: p.media.retention.purge([mxc]))
        content = self.media.get(mxc)
        if content is None:
            return
        if self.is_blocked(content):
            self.there.discard(content)
        else:
            del self.media[mxc]
            self.settle(content)

    @act(mxc=MEDIA)
    def block(self, mxc):
        self.do(lambda p: p.media.blocks.block([mxc]))
        self.blocked.add(mxc)

    @act(mxc=MEDIA)
    def unblock(self, mxc):
        assert self.do(lambda p: p.media.blocks.unblock([mxc])) == (mxc in self.blocked)
        if mxc in self.blocked:
            self.blocked.discard(mxc)
            if mxc in self.media:
                self.settle(self.media[mxc])

    @act()
    def delete_files(self):
        """What is left on the disk is what is there."""
        self.store.media.contents.find_orphans()
        self.store.media.contents.delete_files()
        assert len(list(self.files.hashes())) == len(self.there)

    @act(mxc=MEDIA, is_late=BOTH)
    def reserve_or_take(self, mxc, is_late):
        user, ends_ms, now_ms = USER_IDS[0], 10_000, 20_000 if is_late else 50
        if mxc not in self.reserved:
            self.do(lambda p: p.media.pending.reserve(mxc, user, ends_ms))
            self.reserved[mxc] = user
            return
        self.refuse(lambda p: p.media.pending.reserve(mxc, user, ends_ms))
        took = self.do(lambda p: p.media.pending.take(mxc, user, now_ms))
        assert took == (not is_late)
        if took:
            del self.reserved[mxc]

    def user_gone(self, user):
        super().user_gone(user)
        self.reserved = {mxc: holder for mxc, holder in self.reserved.items() if holder != user}

    def look(self, view):
        super().look(view)
        for number in range(4):
            mxc = Mxc("one.test", f"m{number}")
            content, found = self.media.get(mxc), view.media.files.get(mxc)
            assert (found is not None) == (content in self.there)
            if found is not None:
                with self.files.open(found.file) as file:
                    assert file.read() == b"content%d" % content
            is_blocked = mxc in self.blocked or (content is not None and self.is_blocked(content))
            assert view.media.blocks.is_blocked(mxc) == is_blocked
        assert view.media.pending.total(USER_IDS[0], 50) == len(self.reserved)
