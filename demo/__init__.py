"""Memes drawn in code, and the model that is trained on them."""
