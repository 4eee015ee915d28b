"""Who uploaded which media: known of local users only, and of no more than one for each."""

from __future__ import annotations

from conduitstore.codec.values import EMPTY, pack_text, unpack_text
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.media.rows import key_of, split_user
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Mxc, UserId

_MEDIA = TREES["servernamemediaid_userlocalpart"].key
_UPLOAD = TREES["servername_userlocalpart_mediaid"].key


class Uploaders(Part[Near]):
    """Trees: ``servernamemediaid_userlocalpart``; ``servername_userlocalpart_mediaid`` by user."""

    _localparts = TreeOf("servernamemediaid_userlocalpart")
    _uploads = TreeOf("servername_userlocalpart_mediaid")

    @atomic
    def replace(self, mxc: Mxc, uploader: UserId | None) -> None:
        """Note who uploaded media, instead of who was noted before; None for nobody.

        Raises:
            InvalidArgumentError: a user of another server than the media.
        """
        key = key_of(_MEDIA, mxc)
        before = self._localparts.remove(key)
        if before is not None:
            localpart = unpack_text("servernamemediaid_userlocalpart", before)
            self._uploads.put(_UPLOAD.pack(mxc.server, localpart, mxc.media_id), None)
        if uploader is not None:
            server, localpart = split_user(uploader)
            if server != mxc.server:
                raise InvalidArgumentError(f"{uploader} cannot upload to {shown(mxc.server)}")
            self._localparts.put(key, pack_text(localpart))
            self._uploads.put(_UPLOAD.pack(server, localpart, mxc.media_id), EMPTY)

    def of(self, mxc: Mxc) -> UserId | None:
        """Who uploaded it; None where that is not known."""
        value = self._localparts.get(key_of(_MEDIA, mxc))
        if value is None:
            return None
        localpart = unpack_text("servernamemediaid_userlocalpart", value)
        return UserId(f"@{localpart}:{mxc.server}")

    def uploads(self, uploader: UserId) -> list[Mxc]:
        """What somebody uploaded. Cost: one range. Source: tuwunel, get_all_user_mxcs."""
        server, localpart = split_user(uploader)
        keys = self._uploads.keys(_UPLOAD.prefix(server, localpart))
        return [Mxc(server, _UPLOAD.unpack(key)[2]) for key in keys]
