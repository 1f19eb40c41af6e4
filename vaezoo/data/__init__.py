"""Photos and the random numbers that choose among them."""
