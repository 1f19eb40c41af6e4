"""Every network that was published elsewhere computes the same function as its original, named in `expect.proof`."""

from typing import NamedTuple

import pytest
import torch
from support.originals import Original, original_of
from torch import Tensor

import vaezoo
from vaezoo.nn import efficientvit

TOLERANCE = 1e-4  # largest difference, of the output's largest magnitude
LARGE = 5e6  # parameters; the default run proves the smallest network of each kind of proof, if smaller
HUGE = 50e6  # parameters from which one question is enough, once the first way to load the weights has answered all
READ_ONLY = ("AsymmetricAutoencoderKL", "AutoencoderKLQwenImage")  # tensors that vaezoo drops are missing there


EXPECTED = {name: vaezoo.get_spec(name).expect for name in vaezoo.list_models()}
NAMES = sorted((name for name, expect in EXPECTED.items() if expect.proof), key=lambda name: EXPECTED[name].params)
SMALLEST = {(original_of(name), EXPECTED[name].proof): name for name in reversed(NAMES)}.values()
CASES = [
    pytest.param(
        name,
        marks=[]
        if name in SMALLEST and EXPECTED[name].params < LARGE
        else [pytest.mark.slow, pytest.mark.timeout(1200)],
    )
    for name in NAMES
]


class Answer(NamedTuple):
    """The outputs of an original for images and latents."""

    moments: Tensor
    decoded: Tensor
    normalized: Tensor | None


def sizes(downscale: int) -> list[tuple[int, int, int]]:
    """Return batches, heights and widths: one square and one not, which use both forms of linear attention."""
    side = max(16, downscale if downscale > 32 else 2 * downscale)
    return [(1 if downscale > 32 else 2, side, side), (1, side, side + max(16, downscale))]


def questions(channels: int, downscale: int) -> list[tuple[Tensor, Tensor]]:
    """Return images and latents: large latents that a clamp changes, and small ones where the eps of a norm matters."""
    found = []
    for (batch, height, width), magnitude in zip(sizes(downscale), (2.0, 0.01), strict=True):
        images = torch.rand(batch, 3, height, width) * 2 - 1
        z = torch.randn(batch, channels, height // downscale, width // downscale) * magnitude
        found.append((images, z))
    return found


def answers(original: Original, asked: list[tuple[Tensor, Tensor]]) -> list[Answer]:
    return [Answer(original.moments(images), original.decode(z), original.normalized(z)) for images, z in asked]


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    assert ours.shape == theirs.shape, what
    difference = (ours - theirs).abs().max() / theirs.abs().max()
    assert difference <= TOLERANCE, f"{what}: {difference:.1e}"  # not a number fails too


def assert_says(vae: vaezoo.VAE, asked: list[tuple[Tensor, Tensor]], expected: list[Answer], clamps: bool) -> None:
    for (images, z), (moments, decoded, normalized) in zip(asked, expected, strict=True):
        posterior = vae.encode(images)
        assert_close(posterior.moments, moments, "moments")
        assert_close(posterior.mode(), moments[:, : vae.latent_channels], "mode")
        mine = vae.decode(z)
        assert_close(mine.clamp(-1, 1) if clamps else mine, decoded, "decoded")
        if vae.latent_stats is not None:
            assert_close(vae.normalize(z), normalized, "normalized")


@pytest.fixture
def attended(monkeypatch) -> set[str]:
    """Collect which forms of linear attention a test has used."""
    met = set()
    for name in ("linear_attention", "quadratic_attention"):
        original = getattr(efficientvit, name)
        monkeypatch.setattr(efficientvit, name, lambda *qkv, n=name, f=original: met.add(n) or f(*qkv))
    return met


@torch.inference_mode()
@pytest.mark.parametrize("name", CASES)
def test_a_network_is_the_function_of_its_original_and_its_export_is_too(name, tmp_path, attended):
    spec, kind = vaezoo.get_spec(name), original_of(name)
    original, asked = kind(name), questions(spec.latent.channels, spec.expect.downscale)
    expected, ways, again = answers(original, asked), original.save(tmp_path), len(asked)
    del original  # one model in memory at a time: the largest takes 4.5 GB
    if kind.clamps:
        assert all((answer.decoded.abs() < 1).float().mean() > 0.3 for answer in expected)

    for way, arguments in ways:
        vae = None
        vae = vaezoo.create(way, **arguments)
        assert vae.spec.hash == spec.hash
        if way.startswith("local-dir:"):
            assert vae.latent_stats is not None
        assert_says(vae, asked[-again:], expected[-again:], kind.clamps)
        again = 1 if spec.expect.params > HUGE else again
    if any(row.block.startswith("vit_") for row in spec.encoder):
        assert attended == {"linear_attention", "quadratic_attention"}
    for path in tmp_path.iterdir():
        path.unlink()

    if spec.expect.proof.diffusers not in READ_ONLY:
        tensors = kind.exported(vae, tmp_path)
        del vae
        for there, here in zip(answers(kind(name, tensors), asked[-again:]), expected[-again:], strict=True):
            assert_close(there.moments, here.moments, "moments of the export")
            assert_close(there.decoded, here.decoded, "decoded by the export")
