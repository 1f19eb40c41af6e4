"""Inference with a VAE: reconstruction of images of any size, interpolation between latents."""
