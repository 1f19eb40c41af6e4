"""What the latents of a model are like."""
