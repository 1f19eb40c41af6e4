"""Metrics that compare a reconstruction with its image."""
