"""A model whose values overflow in float16."""

import torch

import vaezoo

LOUD = ("decoder[0]", "decoder[1]")  # the rows between which they do


def loud_model() -> vaezoo.VAE:
    """Return the bundled micro model with values of 1e5 times their size between the first two rows of the decoder."""
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
    with torch.no_grad():
        for parameter in vae.decoder[0].parameters():
            parameter.mul_(1e5)
        vae.decoder[1].weight.mul_(1e-5)
    return vae
