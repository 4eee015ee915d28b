"""Trees of media: which bytes stand behind a media id, and who put them there."""

from conduitstore.schema.tree import tree

_MEDIA = "server ff media_id"
_FILE = "file:hash filename:whole ff content_type:whole unauthenticated:flag"
_SIZE = "width:u32 height:u32"

_PURGED = "media.retention.purge media.retention.expire media.retention.make_room"

MEDIA = [
    tree("servernamemediaid_metadata", _MEDIA, _FILE, "files",
         "media: which file, under which name and type, and whether anybody may have it",
         worth="primary", gone=_PURGED),
    tree("filehash_servername_mediaid", f"file:hash {_MEDIA}", "empty", "files",
         "which media a file is behind",
         worth="derived", gone=_PURGED),
    tree("servernamemediaid_userlocalpart", _MEDIA, "text", "uploaders",
         "who uploaded it",
         worth="primary", gone=_PURGED),
    tree("servername_userlocalpart_mediaid", "server ff localpart:text ff media_id", "empty",
         "uploaders", "what somebody uploaded",
         worth="derived", gone=_PURGED),
    tree("thumbnailid_metadata", f"{_MEDIA} ff {_SIZE}", _FILE, "thumbnails",
         "thumbnails, by the media they are of and their exact size",
         worth="primary", gone=_PURGED),
    tree("filehash_thumbnailid", f"file:hash {_MEDIA} ff {_SIZE}", "empty", "thumbnails",
         "which thumbnails a file is behind",
         worth="derived", gone=_PURGED),

    tree("filehash_metadata", "file:hash", "size_bytes:u64 created_secs:u64 accessed_secs:u64",
         "contents", "the files that are there; without a row a file is to be taken as gone",
         worth="primary", gone=_PURGED),
    tree("kindaccessedfilehash_size", "kind ff accessed_secs:u64 file:hash", "u64", "contents",
         "files of a kind by their last use, so that space is made without a search",
         worth="derived", gone=_PURGED, ours=True),
    tree("kindcreatedfilehash_size", "kind ff created_secs:u64 file:hash", "u64", "contents",
         "files of a kind by their age",
         worth="derived", gone=_PURGED, ours=True),
    tree("mediakind_usage", "kind", "files:u64 bytes:u64", "contents",
         "how many files of a kind there are, and how large they are together",
         worth="derived", gone=_PURGED, ours=True),
    tree("filehash_removal", "file:hash", "u64", "contents",
         "files that no row speaks of any more and that are still to be deleted",
         worth="primary", gone="media.contents.delete_files gc", ours=True),

    tree("blocked_servername_mediaid", _MEDIA, "blocked_secs:u64 reason:whole", "blocks",
         "media nobody may have, and with it whatever has the same bytes",
         worth="primary", gone="media.blocks.unblock"),

    tree("mediaid_pending", "mxc:whole", "expires_ms:u64 ff user", "pending",
         "media ids kept for an upload to come",
         worth="primary", gone="media.pending.take media.pending.forget_expired "
         "users.deactivate gc", ours=True),
    tree("userid_pending", "user ff mxc:whole", "u64", "pending",
         "the same by user, with the time they end",
         worth="derived", gone="media.pending.take media.pending.forget_expired "
         "users.deactivate gc", ours=True),
    tree("expiresms_mediaid", "expires_ms:u64 mxc:whole", "empty", "pending",
         "the same by the time they end",
         worth="derived", gone="media.pending.take media.pending.forget_expired "
         "users.deactivate gc", ours=True),
    tree("url_preview", "url:any", "record", "previews", "what linked web pages looked like",
         worth="disposable", gone="media.previews.remove media.previews.forget_before "
         "gc", ours=True),
    tree("fetchedms_url", "fetched_ms:u64 url:any", "empty", "previews",
         "the same by the time they were fetched",
         worth="disposable", gone="media.previews.remove media.previews.forget_before "
         "gc", ours=True),
]  # fmt: skip
