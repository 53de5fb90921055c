"""Many trainings, ranked."""
