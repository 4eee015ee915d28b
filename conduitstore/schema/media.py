"""Trees of media: which bytes stand behind a media id, and who put them there."""

from conduitstore.schema.tree import TreeSchema

MEDIA: list[TreeSchema] = []
