"""Independent pieces of work."""
