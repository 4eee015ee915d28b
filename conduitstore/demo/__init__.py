"""The main job on a captured history: a homeserver's data in, timelines and syncs out."""
