"""Decode pictures of strangers within a budget of memory and time.

``kinds`` says what a file is, a module per format reads its header, ``decoding`` makes pixels of it, and ``process``
does so in a process of its own where a header cannot bound the cost.
"""
