"""Contact sheets of reconstructions: input, reconstruction, difference, and what the latents look like."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.evaluation.tally import Case
from vaezoo.io.sheets import difference, tile

REACH = 2.5  # standard deviations of the first component that fill the range of a colour


def case_sheet(cases: Sequence[Case]) -> Tensor:
    """One row a case: input, reconstruction, difference x4, latents by `latent_colors` -> a sheet (3, H, W).

    Raises:
        InputError: If there is no case.
    """
    rows = []
    for case, colors in zip(cases, latent_colors([case.z for case in cases]), strict=True):
        seen = F.interpolate(colors, size=case.images.shape[2:], mode="nearest")
        rows.append([case.images, case.reconstruction, difference(case.images, case.reconstruction), seen])
    return tile(rows)


def latent_colors(latents: Sequence[Tensor]) -> list[Tensor]:
    """Latents (1, C, h, w) of any sizes -> their three principal components as RGB (1, 3, h, w) in [-1, 1].

    Axes and range are found over all of them together, so that one colour means one thing; mid grey is their mean. With
    fewer than three channels the other colours stay at mid grey.
    """
    if not latents:
        return []
    values = torch.cat([z.double().movedim(1, 0).flatten(1) for z in latents], dim=1)  # (C, all places)
    mean = values.mean(dim=1, keepdim=True)
    spread, axes = torch.linalg.eigh((values - mean) @ (values - mean).T / values.shape[1])
    axes = axes.flip(1)[:, :3]  # largest first
    axes = axes * torch.where(axes.sum(dim=0) < 0, -1.0, 1.0)  # an eigenvector's sign is chance
    reach = REACH * spread[-1].clamp(min=1e-12).sqrt()
    colors = []
    for z in latents:
        shown = torch.einsum("cij,cd->dij", z[0].double() - mean.unsqueeze(2), axes) / reach
        colors.append(F.pad(shown, (0, 0, 0, 0, 0, 3 - len(shown))).clamp(-1, 1).float().unsqueeze(0))
    return colors
