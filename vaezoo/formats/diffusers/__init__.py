"""Configs of diffusers to specs and back, without importing diffusers; one file for each family of its classes."""
