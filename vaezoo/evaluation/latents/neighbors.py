"""Whether latents have the same nearest neighbors as another representation of the images."""

import torch
from torch import Tensor

from vaezoo.errors import InputError

CHUNK = 1024  # rows of the similarity matrix that are held in memory at once


def nearest(queries: Tensor, bank: Tensor, k: int, skip_self: bool = False) -> Tensor:
    """Find the k nearest rows of a bank for each query, by cosine similarity.

    Args:
        queries: Tensor of shape (N, D).
        bank: Tensor of shape (M, D).
        k: Number of neighbors, at least 1 and at most M (M - 1 with `skip_self`).
        skip_self: Whether `queries` is the bank itself, so that a row does not count as its own neighbor.

    Returns:
        Indices into the bank, nearest first, of shape (N, k).

    Raises:
        InputError: If the bank holds fewer than `k` neighbors, or the shapes do not match.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        shapes = f"{tuple(queries.shape)} and {tuple(bank.shape)}"
        raise InputError(f"nearest: shapes {shapes}; expected (N, D) and (M, D)")
    if not 1 <= k <= len(bank) - skip_self:
        raise InputError(f"nearest: {k} neighbors among {len(bank) - skip_self}; use a smaller k or more images")
    queries, bank = (torch.nn.functional.normalize(x.double(), dim=1) for x in (queries, bank))
    found = []
    for start in range(0, len(queries), CHUNK):
        similarity = queries[start : start + CHUNK] @ bank.T
        if skip_self:
            rows = torch.arange(len(similarity), device=similarity.device)
            similarity[rows, start + rows] = -torch.inf
        found.append(similarity.topk(k, dim=1).indices)
    return torch.cat(found)


def knn_consistency(latents: Tensor, features: Tensor, k: int = 10) -> float:
    """Compute the share of an image's k nearest latents that are also among its k nearest features.

    Both sets are centered first. Chance gives about k / (N - 1).

    Args:
        latents: Tensor of shape (N, D), one row per image.
        features: Another representation of the same images, such as the features of a ViT, of shape (N, E).
        k: Number of neighbors to compare.

    Returns:
        The share averaged over the images, in [0, 1].

    Raises:
        InputError: If there are `k` images or fewer, or the numbers of rows differ.
    """
    if len(latents) != len(features):
        raise InputError(
            f"knn_consistency: {len(latents)} latents and {len(features)} features; expected one of each per image"
        )
    ours, theirs = (nearest(x - x.mean(dim=0), x - x.mean(dim=0), k, skip_self=True) for x in (latents, features))
    return (ours.unsqueeze(2) == theirs.unsqueeze(1)).any(dim=2).double().mean().item()
