"""The serving benchmark: ``python -m benchmarks.serving`` measures this project and other model servers in one run."""
