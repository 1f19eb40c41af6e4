"""Zoo networks in the shape that other libraries expect."""
