"""Photos, the crops that are made of them, and the random numbers that choose both."""
