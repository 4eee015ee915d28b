"""Device keys, one-time keys, backups: each claim is of a key that nobody got before."""

from .base import DEVICE_IDS, INDEX, ROOM_IDS, USER_IDS, Base, act, chosen

ALGORITHMS = ["x", "xy"]


class Encryption(Base):
    """Keys by device and algorithm, in their turn; backups by user and version."""

    def __init__(self):
        super().__init__()
        self.device_keys, self.masters = {}, {}
        self.one_time_keys, self.fallbacks, self.claimed = {}, {}, set()
        self.backups, self.old_etags = {}, {}

    def populate(self):
        super().populate()
        for device in DEVICE_IDS:
            self.upload_device_keys(USER_IDS[0], device)
            self.upload_one_time_keys(USER_IDS[0], device, "x", 3)

    def changed_keys(self, user):
        """The user's keys changed: who has to hear of it is for the syncs' area."""

    @act(user=USER_IDS, device=DEVICE_IDS)
    def upload_device_keys(self, user, device):
        keys = {"keys": {}, "n": self.number()}
        if (user, device) not in self.devices:
            self.refuse(lambda p: p.keys.add_device_keys(user, device, keys))
            return
        self.do(lambda p: p.keys.add_device_keys(user, device, keys))
        self.device_keys[user, device] = keys
        self.changed_keys(user)

    @act(user=USER_IDS)
    def upload_cross_signing_keys(self, user):
        n = self.number()
        roles = [{"keys": {"ed25519:k": f"{n:043}"[:-1] + role}} for role in "MSU"]
        self.do(lambda p: p.keys.add_cross_signing_keys(user, *roles))
        self.masters[user] = roles
        self.changed_keys(user)

    def device_gone(self, user, device):
        super().device_gone(user, device)
        if self.device_keys.pop((user, device), None) is not None:
            self.changed_keys(user)
        for held in (self.one_time_keys, self.fallbacks):
            for key in [key for key in held if key[:2] == (user, device)]:
                del held[key]

    # One-time keys ------------------------------------------------------------------------------
    @act(user=USER_IDS, device=DEVICE_IDS, algorithm=ALGORITHMS, total=range(1, 4))
    def upload_one_time_keys(self, user, device, algorithm, total):
        numbers = [self.number() for _ in range(total)]
        keys = {f"{algorithm}:k{n:06}": {"n": n} for n in numbers}
        if (user, device) not in self.devices:
            self.refuse(lambda p: p.one_time_keys.add(user, device, keys))
            return
        self.do(lambda p: p.one_time_keys.add(user, device, keys))
        self.one_time_keys.setdefault((user, device, algorithm), []).extend(numbers)

    @act(user=USER_IDS, device=DEVICE_IDS, algorithm=ALGORITHMS)
    def upload_fallback_key(self, user, device, algorithm):
        n = self.number()
        key_id = f"{algorithm}:f{n}"
        if (user, device) not in self.devices:
            self.refuse(lambda p: p.one_time_keys.add_fallback(user, device, key_id, {"n": n}))
            return
        self.do(lambda p: p.one_time_keys.add_fallback(user, device, key_id, {"n": n}))
        self.fallbacks[user, device, algorithm] = [n, False]

    @act(user=USER_IDS, device=DEVICE_IDS, algorithm=ALGORITHMS)
    def claim(self, user, device, algorithm):
        place = (user, device, algorithm)
        found = self.do(lambda p: p.one_time_keys.claim(user, device, algorithm))
        turns = self.one_time_keys.get(place, [])
        fallback = self.fallbacks.get(place)
        if turns:
            assert (found.key["n"], found.is_fallback) == (turns.pop(0), False)
            assert found.key["n"] not in self.claimed
            self.claimed.add(found.key["n"])
        elif fallback is not None:
            assert (found.key["n"], found.is_fallback) == (fallback[0], True)
            fallback[1] = True
        else:
            assert found is None

    # Backups ------------------------------------------------------------------------------------
    @act(user=USER_IDS)
    def create_backup(self, user):
        version = self.do(lambda p: p.key_backups.create(user, {"algorithm": "m.test"}))
        self.backups[user, version] = {}

    @act(index=INDEX, room=ROOM_IDS, session="st")
    def back_up(self, index, room, session):
        backup, n = chosen(self.backups, index), self.number()
        if backup is not None:
            keys = {room: {session: {"n": n}}}
            assert self.do(lambda p: p.key_backups.add_keys(*backup, keys)) == 1
            self.backups[backup][room, session] = n
            self.assert_new_etag(backup)

    @act(index=INDEX, room=ROOM_IDS)
    def delete_backed_up(self, index, room):
        backup = chosen(self.backups, index)
        if backup is not None:
            held = self.backups[backup]
            gone = [key for key in held if key[0] == room]
            assert self.do(lambda p: p.key_backups.delete_keys(*backup, room)) == len(gone)
            for key in gone:
                del held[key]

    @act(index=INDEX)
    def delete_backup(self, index):
        backup = chosen(self.backups, index)
        if backup is not None:
            assert self.do(lambda p: p.key_backups.delete(*backup))
            del self.backups[backup]

    def assert_new_etag(self, backup):
        etag = self.store.key_backups.etag(*backup)
        assert self.old_etags.get(backup) != etag
        self.old_etags[backup] = etag

    def look(self, view):
        super().look(view)
        for place, keys in self.device_keys.items():
            assert view.keys.device_keys(*place) == keys
        for user, roles in self.masters.items():
            assert view.keys.master_key(user) == roles[0]
            assert view.keys.user_signing_key(user) == roles[2]
        for user, device in self.devices:
            left = {
                place[2]: len(turns)
                for place, turns in self.one_time_keys.items()
                if place[:2] == (user, device) and turns
            }
            assert view.one_time_keys.counts(user, device) == left
            assert view.one_time_keys.unused_fallback_algorithms(user, device) == sorted(
                place[2]
                for place, (_, is_used) in self.fallbacks.items()
                if place[:2] == (user, device) and not is_used
            )
        for backup, held in self.backups.items():
            assert view.key_backups.total(*backup) == len(held)
            found = view.key_backups.all_keys(*backup)
            assert {
                (room, session): data["n"]
                for room, sessions in found.items()
                for session, data in sessions.items()
            } == held
