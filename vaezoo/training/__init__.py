"""How a model is trained: losses, discriminators, latent regularisers."""
