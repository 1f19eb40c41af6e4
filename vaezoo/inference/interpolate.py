"""Interpolation between latents."""

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Linear interpolation between tensors of the same shape.

    Args:
        a: Result at `t = 0`.
        b: Result at `t = 1`.
        t: Position in [0, 1].
    """
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical linear interpolation between latents: along the great circle, with linearly interpolated norms.

    Args:
        a: Latents of shape (B, C, h, w) with mean 0, as `vae.normalize` returns them; the result at `t = 0`.
        b: Latents of the same shape; the result at `t = 1`.
        t: Position in [0, 1].

    Source: Shoemake 1985, "Animating rotation with quaternion curves".
    """
    dims = (1, 2, 3)
    a_norm, b_norm = (torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp(min=1e-12) for x in (a, b))
    a_unit, b_unit = a / a_norm, b / b_norm
    angle = (a_unit * b_unit).sum(dim=dims, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a_unit + (t * angle).sin() * b_unit) / sine
    direction = torch.where(sine > 1e-4, arc, lerp(a_unit, b_unit, t))  # (nearly) parallel vectors: the line is the arc
    return direction * lerp(a_norm, b_norm, t)
