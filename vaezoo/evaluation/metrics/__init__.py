"""Metrics of a reconstruction."""
