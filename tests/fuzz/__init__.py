"""Coverage-guided fuzzing: ``python -m tests.fuzz TARGET``, and its short form in ``make test``."""
