"""Engines: ordered bytes kept safe. None of them has ever heard of a user."""
