"""Sharing a model: folders, model cards, commits to a Hub."""
