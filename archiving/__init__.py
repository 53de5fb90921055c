"""Make archives of bundles, and prove that they answer as their bundles do."""
