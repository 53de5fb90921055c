"""memeguard: from a meme's picture and words to a verdict, the same way in training, evaluation and serving.

Knows nothing of TorchServe, HTTP, data sets or optimizers.
"""

__version__ = "0.1.0"
