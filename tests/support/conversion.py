"""Weights of published trainers, converted to losses that are means over image elements and batch (docs/recipes.md)."""


def kl_weight(weight: float, *, error: str, kl: str, elements: int, latents: int) -> float:
    """A KL weight beside an `error` that is a "sum" or "mean" over the image; `kl` likewise over the latent."""
    summed = weight if kl == "sum" else weight / latents
    return summed if error == "sum" else summed * elements


def ratio_limit(limit: float, *, error: str, elements: int) -> float:
    """The largest ratio of gradients: the gradient of a mean is smaller than that of a sum."""
    return limit / elements if error == "sum" else limit


def error_weight(weight: float, *, power: int, span: float) -> float:
    """The weight of |x - y| ** power for images whose white minus black was `span`; here it is 2."""
    return weight * (span / 2) ** power
