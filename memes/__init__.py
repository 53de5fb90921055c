"""Memes on disk: tables, layouts, folders of pictures, near-duplicates."""
