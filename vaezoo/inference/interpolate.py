"""Ways from one latent to another."""

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at `t` in [0, 1] on the straight line from `a` to `b`, of their shape."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at `t` in [0, 1] on the great circle from `a` to `b`; its length goes evenly from one's to the other's.

    Args:
        a: Latents of shape (B, C, h, w), centred (mean 0), as `vae.normalize` gives them.
        b: Latents of the same shape.
        t: 0 is `a`, 1 is `b`.

    Source: Shoemake 1985, "Animating rotation with quaternion curves".
    """
    dims = (1, 2, 3)
    a_length, b_length = (torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp(min=1e-12) for x in (a, b))
    a_unit, b_unit = a / a_length, b / b_length
    angle = (a_unit * b_unit).sum(dim=dims, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - t) * angle).sin() * a_unit + (t * angle).sin() * b_unit) / sine
    direction = torch.where(sine > 1e-4, arc, lerp(a_unit, b_unit, t))  # (nearly) parallel: the line is the arc
    return direction * lerp(a_length, b_length, t)
