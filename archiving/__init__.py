"""From a bundle to an archive that is proven to answer as the bundle does."""
