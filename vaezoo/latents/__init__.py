"""Encode data sets to latents, and read them back for training a diffusion model."""
