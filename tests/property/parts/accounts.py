"""Accounts, devices, tokens, profiles, filters, pushers, presence."""

from conduitstore.parts.presence import Presence

from .base import BOTH, DEVICE_IDS, INDEX, USER_IDS, Base, act, chosen

FIELDS = ["displayname", "m.tz"]


class Accounts(Base):
    """Of accounts the hash, of devices their tokens; the rest by user."""

    def __init__(self):
        super().__init__()
        self.users, self.devices = {}, {}
        self.profiles, self.filters, self.pushers, self.presences = {}, set(), {}, {}
        self.dead_tokens = set()

    def populate(self):
        super().populate()
        for user, devices in zip(USER_IDS, (DEVICE_IDS, ["D"], []), strict=True):
            self.create_user(user)
            for device in devices:
                self.create_device(user, device, has_token=True)

    # Accounts -----------------------------------------------------------------------------------
    @act(user=USER_IDS)
    def create_user(self, user):
        if user in self.users:
            self.refuse(lambda p: p.users.create(user, "hash"))
            return
        self.users[user] = f"hash {self.number()}"
        self.do(lambda p: p.users.create(user, self.users[user]))

    @act(user=USER_IDS)
    def set_password(self, user):
        new = f"hash {self.number()}"
        if user not in self.users:
            self.refuse(lambda p: p.users.set_password(user, new))
            return
        self.do(lambda p: p.users.set_password(user, new))
        self.users[user] = new

    @act(user=USER_IDS[1:])
    def deactivate(self, user):
        if user not in self.users:
            self.refuse(lambda p: p.users.deactivate(user))
            return
        self.do(lambda p: p.users.deactivate(user))
        self.users[user] = ""
        for owner, device in list(self.devices):
            if owner == user:
                self.device_gone(user, device)
        self.user_gone(user)

    def user_gone(self, user):
        super().user_gone(user)
        self.filters = {known for known in self.filters if known[0] != user}
        self.pushers = {key: device for key, device in self.pushers.items() if key[0] != user}
        self.presences.pop(user, None)

    # Devices ------------------------------------------------------------------------------------
    @act(user=USER_IDS, device=DEVICE_IDS, has_token=BOTH)
    def create_device(self, user, device, has_token):
        token = f"token {self.number()}" if has_token else None
        if user not in self.users:
            self.refuse(lambda p: p.devices.create(user, device, token))
            return
        self.do(lambda p: p.devices.create(user, device, token))
        self.retire(user, device)
        self.devices[user, device] = {"token": token, "refresh": None, "spent": None}

    @act(user=USER_IDS, device=DEVICE_IDS)
    def remove_device(self, user, device):
        assert self.do(lambda p: p.devices.remove(user, device)) == ((user, device) in self.devices)
        if (user, device) in self.devices:
            self.device_gone(user, device)

    def device_gone(self, user, device):
        super().device_gone(user, device)
        self.retire(user, device)
        del self.devices[user, device]
        gone = [key for key, d in self.pushers.items() if (key[0], d) == (user, device)]
        for key in gone:
            del self.pushers[key]

    def retire(self, user, device):
        """The device's tokens are dead from now on."""
        known = self.devices.get((user, device), {})
        self.dead_tokens.update(token for token in known.values() if token is not None)

    @act(user=USER_IDS, device=DEVICE_IDS)
    def set_token(self, user, device):
        token = f"token {self.number()}"
        known = self.devices.get((user, device))
        if known is None:
            self.refuse(lambda p: p.devices.set_token(user, device, token))
            self.refuse(lambda p: p.refresh_tokens.set(user, device, token))
            return
        self.do(lambda p: p.devices.set_token(user, device, token))
        self.dead_tokens.add(known["token"])
        known["token"] = token

    @act(index=INDEX, total=range(1, 4))
    def refresh(self, index, total):
        """The first token, and the next ones in place of it."""
        place = chosen(self.devices, index)
        for _ in range(total if place else 0):
            self.refresh_once(place, self.devices[place], f"refresh {self.number()}")

    def refresh_once(self, place, known, token):
        if known["refresh"] is None:
            self.do(lambda p: p.refresh_tokens.set(*place, token))
            known["refresh"] = token
            return
        old = known["refresh"]
        assert self.do(lambda p: p.refresh_tokens.spend(old, token)).device == place[1]
        assert self.store.refresh_tokens.spend(old, f"{token} again") is None
        self.dead_tokens.add(known["spent"])
        known |= {"refresh": token, "spent": old}

    # What belongs to users ----------------------------------------------------------------------
    @act(user=USER_IDS, field=FIELDS, removes=BOTH)
    def set_profile(self, user, field, removes):
        value = str(self.number())
        if removes:
            self.do(lambda p: p.profiles.remove(user, field))
            self.profiles.pop((user, field), None)
        else:
            self.do(lambda p: p.profiles.set(user, field, value))
            self.profiles[user, field] = value

    @act(user=USER_IDS, kind=INDEX)
    def create_filter(self, user, kind):
        self.filters.add((user, self.do(lambda p: p.filters.create(user, {"kind": kind})), kind))

    @act(user=USER_IDS, device=[*DEVICE_IDS, None], key=["key", "other"])
    def set_pusher(self, user, device, key):
        pusher = {"pushkey": key}
        if user not in self.users or (device is not None and (user, device) not in self.devices):
            self.refuse(lambda p: p.pushers.set(user, pusher, device))
            return
        self.do(lambda p: p.pushers.set(user, pusher, device))
        self.pushers[user, key] = device

    @act(index=INDEX)
    def remove_pusher(self, index):
        user, key = chosen(self.pushers, index) or (USER_IDS[0], "key")
        assert self.do(lambda p: p.pushers.remove(user, key)) == ((user, key) in self.pushers)
        self.pushers.pop((user, key), None)

    @act(user=USER_IDS, state=["online", "offline"])
    def set_presence(self, user, state):
        self.do(lambda p: p.presence.update(user, Presence(state)))
        self.presences[user] = state

    def look(self, view):
        super().look(view)
        assert {user: view.users.password_hash(user) for user in view.users.all()} == self.users
        for user in USER_IDS:
            mine = {device for owner, device in self.devices if owner == user}
            assert set(view.devices.ids(user)) == mine
            own = {key: value for (owner, key), value in self.profiles.items() if owner == user}
            assert view.profiles.all(user) == own
            keys = [key for owner, key in sorted(self.pushers) if owner == user]
            assert view.pushers.pushkeys(user) == keys
            presence = view.presence.get(user)
            assert (presence and presence.presence.state) == self.presences.get(user)
        for (user, device), known in self.devices.items():
            if known["token"] is not None:
                assert view.devices.find_from_token(known["token"]) == (user, device)
            assert view.refresh_tokens.current(user, device) == known["refresh"]
            if known["spent"] is not None:
                found = view.refresh_tokens.classify(known["spent"])
                assert (found.user, found.device) == (user, device)
                assert found.successor == known["refresh"]
        for token in self.dead_tokens - {None}:
            assert view.devices.find_from_token(token) is None
            assert view.refresh_tokens.classify(token) is None
        for user, name, kind in self.filters:
            assert view.filters.get(user, name) == {"kind": kind}
