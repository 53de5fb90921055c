"""Memes in bulk: a folder or a list of them in, one file of verdicts out."""
