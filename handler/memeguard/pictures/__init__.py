"""Decode untrusted pictures within limits of memory and time.

``kinds`` recognises the format, a module per format reads the header, and ``decoding`` decodes the pixels. ``process``
does so in a separate process if the header cannot bound the cost.
"""
