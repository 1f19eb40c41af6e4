"""Evaluation of models: metrics, and the protocols by which they are measured."""
