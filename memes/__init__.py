"""Labelled memes on disk: layouts, reading, near-duplicates."""
