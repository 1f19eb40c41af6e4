"""Contact sheet of the latents of one image: colors, every channel, and the spread of the posterior."""

from torch import Tensor

from vaezoo.evaluation.case_sheet import LATENT_COLORS, latent_colors
from vaezoo.io.captions import captioned, enlarged, reconstruction_caption
from vaezoo.io.sheets import tile
from vaezoo.nn.distributions import Posterior

COLUMNS = 4
RANGE = 3.0  # standard deviations on both sides of the mean of a channel, from black to white


def latent_sheet(images: Tensor, reconstruction: Tensor, quality: float, posterior: Posterior, name: str) -> Tensor:
    """Draw an image, its reconstruction, the first three principal components of its latents, and each channel.

    A channel is gray where the latents have its mean, black and white 3 standard deviations from it. The spread of the
    posterior is its standard deviation averaged over the channels, each relative to the standard deviation of its
    latents, from black (least) to white (most); 1 would mean that the encoder says nothing. Deterministic latents have
    no spread.

    Args:
        images: The image, of shape (1, 3, H, W) with values in [-1, 1].
        reconstruction: Its reconstruction, of the same shape.
        quality: PSNR of the reconstruction in dB.
        posterior: Distribution over its latents, of shape (1, C, h, w).
        name: Name of the image, for the caption.

    Returns:
        The sheet, of shape (3, H, W) with values in [-1, 1].
    """
    z, spread = posterior.mode().float().cpu(), posterior.std.float().cpu()
    mean, std = z.mean(dim=(2, 3), keepdim=True), z.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1e-12)
    factor = max(1, images.shape[3] // z.shape[3])

    def shown(values: Tensor, text: str) -> Tensor:
        large = values.clamp(-1, 1).repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
        return captioned(enlarged(large), text)

    def gray(values: Tensor) -> Tensor:
        return values.expand(-1, 3, -1, -1)

    top = [
        captioned(enlarged(images), name),
        captioned(enlarged(reconstruction), reconstruction_caption(quality)),
        shown(latent_colors([z])[0], LATENT_COLORS),
    ]
    if spread.any():
        relative = (spread / std).mean(dim=1, keepdim=True)
        low, high = relative.min().item(), relative.max().item()
        text = f"posterior std / latent std: {low:.2g} (black) to {high:.2g} (white)"
        top.append(shown(gray(2 * (relative - low) / max(high - low, 1e-12) - 1), text))
    channels = []
    for index in range(z.shape[1]):
        about = f"channel {index}: mean {mean[0, index].item():.2f}, std {std[0, index].item():.2f}"
        if spread.any():
            about += f", posterior std {spread[0, index].mean().item():.2g}"
        channel = slice(index, index + 1)
        channels.append(shown(gray((z[:, channel] - mean[:, channel]) / (RANGE * std[:, channel])), about))
    return tile([top, *(channels[i : i + COLUMNS] for i in range(0, len(channels), COLUMNS))])
