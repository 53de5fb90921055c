"""Functional tests: cases that each test one thing, such as negation, in templates over identity terms.

The method is that of HateCheck (Röttger et al. 2021), for memes: a case is a caption with a grey picture, with a
picture of the user's own, or with a picture without which it cannot be decided.
"""
