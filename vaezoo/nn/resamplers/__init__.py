"""Resamplers: modules that halve or double height and width."""
