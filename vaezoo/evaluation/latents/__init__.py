"""Properties of the latents of a model."""
