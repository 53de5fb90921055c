"""Bulk scoring: a folder or a list of memes in, one file of predictions out."""
