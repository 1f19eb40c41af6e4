"""Models by name: the only place where specs, networks and weights meet."""
