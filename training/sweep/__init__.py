"""Sweeps: train many configurations and rank them."""
