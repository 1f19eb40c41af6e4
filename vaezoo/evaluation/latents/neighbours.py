"""Neighbours among latents: do they agree with another view of the images, and what lies between two of them?"""

import torch
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.inference.interpolate import slerp

CHUNK = 1024  # rows of a distance matrix that are held at once


def nearest(queries: Tensor, bank: Tensor, k: int, skip_self: bool = False) -> Tensor:
    """Indices into the bank of each query's k nearest rows by cosine, nearest first, of shape (N, k).

    Args:
        queries: Of shape (N, D).
        bank: Of shape (M, D).
        k: How many.
        skip_self: The queries are the bank; a row is no neighbour of its own.

    Raises:
        InputError: If the bank holds fewer than `k` neighbours, or the shapes do not fit.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        shapes = f"{tuple(queries.shape)} and {tuple(bank.shape)}"
        raise InputError(f"nearest: shapes {shapes}; expected (N, D) and (M, D)")
    if not 1 <= k <= len(bank) - skip_self:
        raise InputError(f"nearest: {k} neighbours among {len(bank) - skip_self}; take fewer, or more images")
    queries, bank = (torch.nn.functional.normalize(x.double(), dim=1) for x in (queries, bank))
    found = []
    for start in range(0, len(queries), CHUNK):
        likeness = queries[start : start + CHUNK] @ bank.T
        if skip_self:
            rows = torch.arange(len(likeness), device=likeness.device)
            likeness[rows, start + rows] = -torch.inf
        found.append(likeness.topk(k, dim=1).indices)
    return torch.cat(found)


def knn_consistency(latents: Tensor, features: Tensor, k: int = 10) -> float:
    """Share, in [0, 1], of an image's k nearest latents that are among its k nearest in feature space too.

    Both are centred first. Chance gives about k / (N - 1).

    Args:
        latents: One row an image, of shape (N, D).
        features: Another view of the same images, such as a ViT's features, of shape (N, E).
        k: How many neighbours count.

    Raises:
        InputError: If there are not more than `k` images, or the numbers of rows differ.
    """
    if len(latents) != len(features):
        raise InputError(f"knn_consistency: {len(latents)} latents and {len(features)} features; one of each an image")
    ours, theirs = (nearest(x - x.mean(dim=0), x - x.mean(dim=0), k, skip_self=True) for x in (latents, features))
    return (ours.unsqueeze(2) == theirs.unsqueeze(1)).any(dim=2).double().mean().item()


def between_neighbours(
    z: Tensor, bank: Tensor, t: float = 0.5, top: int = 10, generator: torch.Generator | None = None
) -> Tensor:
    """Latents on the way from each latent to a near one of the bank, of the shape of `z`; decoded, they make an iFID.

    One of the `top` nearest by cosine is drawn with probability softmax(-mean squared difference), and `slerp` goes the
    way. The Fréchet distance between features of the decoded images and of the originals is the iFID.

    Args:
        z: Normalised latents of shape (N, C, h, w).
        bank: Normalised latents of other images, of shape (M, C, h, w).
        t: How far to go, in [0, 1].
        top: Among how many to draw; 1 takes the nearest.
        generator: Source of the draw.

    Raises:
        InputError: If the shapes do not fit, or the bank is smaller than `top`.

    Source: iFID (arXiv:2603.05630).
    """
    indices = nearest(z.flatten(1), bank.flatten(1), top)
    near = bank.flatten(1)[indices]  # (N, top, D)
    errors = (near - z.flatten(1).unsqueeze(1)).square().mean(dim=2)
    drawn = torch.multinomial(torch.softmax(-errors.double(), dim=1).cpu(), 1, generator=generator).to(z.device)
    return slerp(z, bank[indices.gather(1, drawn).squeeze(1)], t)
