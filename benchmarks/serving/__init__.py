"""The serving benchmark: this project beside the original's design and other model servers, in one run.

Does not know how any of them works; ``python -m benchmarks.serving`` runs it.
"""
