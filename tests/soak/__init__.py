"""A server under load for long: ``python -m tests.soak``. In tests/, because what it measures is asserted."""
