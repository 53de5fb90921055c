"""The door on port 5000: a form with a meme comes in, TorchServe's prediction goes out.

Does not know the model: it imports neither torch nor any other package of this repository.
"""
