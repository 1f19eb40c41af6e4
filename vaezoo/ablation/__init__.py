"""Ablations: variants of a network, their costs, short trainings of them, and a report."""
