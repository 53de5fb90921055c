"""The HTTP service on port 5000: it receives a form with a meme and returns TorchServe's prediction.

It imports neither torch nor any other package of this repository.
"""
