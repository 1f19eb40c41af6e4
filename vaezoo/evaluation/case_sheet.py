"""Contact sheets of reconstructions: input, reconstruction, difference and latents."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.evaluation.tally import Case
from vaezoo.io.captions import DIFFERENCE, captioned, enlarged, reconstruction_caption
from vaezoo.io.sheets import difference, tile

LATENT_COLORS = "latents, 3 components"
REACH = 2.5  # standard deviations of the first component that span the range of a color channel


def case_sheet(cases: Sequence[Case], names: Sequence[str] | None = None) -> Tensor:
    """Draw one row per case: input, reconstruction with its PSNR, difference x4, and latents as colors.

    Small images are enlarged.

    Args:
        cases: At least one case.
        names: Names of all photos, which the captions show; `None` shows the index of a photo.

    Returns:
        The sheet, of shape (3, H, W) with values in [-1, 1].

    Raises:
        InputError: If there are no cases.
    """
    rows = []
    for case, colors in zip(cases, latent_colors([case.z for case in cases]), strict=True):
        shown = F.interpolate(colors, size=case.images.shape[2:], mode="nearest")
        images = (case.images, case.reconstruction, difference(case.images, case.reconstruction), shown)
        name = names[case.index] if names else f"photo {case.index}"
        texts = (name, reconstruction_caption(case.psnr), DIFFERENCE, LATENT_COLORS)
        rows.append([captioned(enlarged(image), text) for image, text in zip(images, texts, strict=True)])
    return tile(rows)


def latent_colors(latents: Sequence[Tensor]) -> list[Tensor]:
    """Show the three principal components of latents as RGB images.

    Components and range are computed over all latents together, so a color has the same meaning in all images; mid gray
    is their mean. With fewer than three channels the remaining colors stay at mid gray.

    Args:
        latents: Tensors of shape (1, C, h, w), whose sizes may differ.

    Returns:
        Images of shape (1, 3, h, w) with values in [-1, 1].
    """
    if not latents:
        return []
    values = torch.cat([z.double().movedim(1, 0).flatten(1) for z in latents], dim=1)  # (C, all positions)
    mean = values.mean(dim=1, keepdim=True)
    spread, axes = torch.linalg.eigh((values - mean) @ (values - mean).T / values.shape[1])
    axes = axes.flip(1)[:, :3]  # largest first
    axes = axes * torch.where(axes.sum(dim=0) < 0, -1.0, 1.0)  # the sign of an eigenvector is arbitrary
    reach = REACH * spread[-1].clamp(min=1e-12).sqrt()
    colors = []
    for z in latents:
        shown = torch.einsum("cij,cd->dij", z[0].double() - mean.unsqueeze(2), axes) / reach
        colors.append(F.pad(shown, (0, 0, 0, 0, 0, 3 - len(shown))).clamp(-1, 1).float().unsqueeze(0))
    return colors
