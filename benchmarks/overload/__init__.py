"""What too much, and too slow, does to a server."""
