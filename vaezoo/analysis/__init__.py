"""Costs, memory and receptive fields of a network, and differences between two networks."""
