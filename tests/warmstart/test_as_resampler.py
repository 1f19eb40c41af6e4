"""A VAE that starts as a resampler computes what its pairs say: a linear reduction and enlargement of the photo."""

import pytest
import torch
import torch.nn.functional as F
from support.training import CPU
from torch import Tensor

import vaezoo
from vaezoo.errors import SpecError
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.io.images import to_tensor
from vaezoo.io.read_image import read_picture
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.nn.attention import Attention
from vaezoo.nn.build import build
from vaezoo.nn.layers import ResidualLayer
from vaezoo.nn.schema import check_spec
from vaezoo.specs.catalog import sample_photos
from vaezoo.specs.overrides import parse_settings
from vaezoo.specs.tree import Location, from_plain
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train
from vaezoo.warmstart.as_resampler import check_start, start_as_resampler

LDM = {
    "shared": {"norm": "group", "groups": 8, "eps": 1e-6, "act": "silu", "skip": "auto"},
    "image": {"channels": 3},
    "latent": {"kind": "gaussian", "channels": 4},
    "encoder": [
        {"block": "conv", "out": 32, "kernel": 3},
        {"block": "down", "out": 32, "layers": 2, "resample": "conv_3x3_asymmetric"},
        {"block": "down", "out": 64, "layers": 2, "resample": "conv_3x3_asymmetric"},
        {"block": "mid", "out": 64, "layers": 1, "heads": 1},
        {"block": "head", "out": "moments", "kernel": 3},
        {"block": "conv", "out": "moments", "kernel": 1},
    ],
    "decoder": [
        {"block": "conv", "out": "latent", "kernel": 1},
        {"block": "conv", "out": 64, "kernel": 3},
        {"block": "mid", "out": 64, "layers": 1, "heads": 1},
        {"block": "up", "out": 64, "layers": 2, "resample": "nearest_conv_3x3"},
        {"block": "up", "out": 32, "layers": 2, "resample": "nearest_conv_3x3"},
        {"block": "head", "out": "image", "kernel": 3},
    ],
}
NETWORKS = {
    "checkerboard": ("vae_f8_z4_micro", {}),
    "constants": ("vae_f8_z4_micro", {"decoder.6.groups": 4}),
    "auto": ("vae_f8_z4_micro", {"*.*.skip": "auto"}),
    "nearest": ("vae_f8_z4_micro", {"decoder.*.resample": "nearest_conv_3x3", "decoder.6.groups": 4}),
    "narrow": ("vae_f8_z4_quarter", {}),
    "channels": ("vae_f8_z4_micro", {"latent.channels": 16}),
    "ldm": (check_spec(from_plain(LDM, Location("ldm"))), {}),
}


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """(B, 3, 128, 128): the middles of the sample photos."""
    return torch.cat([to_tensor(resize_and_crop(read_picture(path), 128)) for path in sample_photos()])


MORE = [pytest.param(name, marks=pytest.mark.slow) for name in ("constants", "auto", "nearest", "narrow")]


@pytest.mark.parametrize("case", ["checkerboard", "channels", pytest.param("ldm", marks=pytest.mark.slow), *MORE])
def test_the_first_output_is_the_photo_resampled(case, photos):
    name, changes = NETWORKS[case]
    torch.manual_seed(0)
    vae = vaezoo.create(name, pretrained=False, overrides=changes).eval()
    start_as_resampler(vae)
    with torch.no_grad():
        posterior = vae.encode(photos)
        noisy = psnr(vae.decode(posterior.mode()), photos).mean()
        quiet_branches(vae)
        result = vae.decode(vae.encode(photos).mode())
    linear = resampled(photos, vae.downscale, asymmetric=case == "ldm")
    inside = (..., slice(16, -16), slice(16, -16))  # zeros beyond the edge are seen up to here
    assert psnr(result[inside], linear[inside]).mean() > 30, "without residual branches: the resampler itself"
    assert noisy > psnr(linear, photos).mean() - 4, "with them: close to it"
    assert posterior.mode()[:, :3].std(dim=(0, 2, 3)) == pytest.approx(torch.ones(3), abs=0.6)
    assert posterior.std.mean() == pytest.approx(0.082, abs=0.02)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("taesd", {}, r"encoder\[0\] .*: start: resampler supports conv, down, mid, up"),
        ("vae_f8_z4_micro", {"encoder.5.groups": 48}, "the encoder's head has groups of 1 channels; .* fewer groups"),
        ("vae_f8_z4_micro", {"decoder.*.resample": "nearest_conv_3x3"}, "the decoder's head has groups of 2 channels"),
        (
            "vae_f8_z4_micro",
            {"encoder.2.resample": "conv_3x3_no_bias"},
            r"encoder\[2\] .*does not support .*Conv3x3NoBias",
        ),
        (
            "vae_f8_z4_micro",
            {"encoder.5.norm": "rms", "encoder.5.groups": None},
            r"encoder\[5\] \(head\) has no group norm",
        ),
        (
            "vae_f8_z4_micro",
            {"decoder.1.out": 6, "decoder.2.groups": 2},
            "the decoder has 6 channels; .* needs 7",
        ),
        ("vae_f8_z4_micro", {"image.channels": 1}, "images of 1 channels; start: resampler needs 3"),
    ],
)
def test_a_row_that_cannot_lead_pairs_is_refused(name, changes, message):
    vae = vaezoo.create(name, pretrained=False, overrides=changes)
    before = {key: tensor.clone() for key, tensor in vae.state_dict().items()}
    with pytest.raises(SpecError, match=message):
        start_as_resampler(vae)
    assert all(torch.equal(tensor, before[key]) for key, tensor in vae.state_dict().items())
    with pytest.raises(SpecError, match=message):
        check_start(build(vae.spec, "meta"))


def test_a_recipe_begins_with_it(tmp_path):
    settings = ["steps=1", "optimizer.lr=0", "batch_size=1", "validation.size=32", "checkpoint_every=1", "grid_every=0"]
    train(read_recipe("quickstart", parse_settings(settings)), tmp_path / "run", CPU)
    torch.manual_seed(0)
    vae = vaezoo.create("vae_f8_z4_micro")
    start_as_resampler(vae)
    trained = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True).state_dict()
    assert all(torch.equal(tensor, trained[key]) for key, tensor in vae.state_dict().items())


def quiet_branches(vae: vaezoo.VAE) -> None:
    """Residual branches that add nothing."""
    with torch.no_grad():
        for module in vae.modules():
            last = {ResidualLayer: "conv2", Attention: "proj"}.get(type(module))
            if last:
                for parameter in getattr(module, last).parameters():
                    parameter.zero_()


def resampled(photos: Tensor, factor: int, asymmetric: bool) -> Tensor:
    """The photo reduced and enlarged by interpolation alone, in another way than by the layers of a network."""
    small = photos
    for _ in range(factor.bit_length() - 1):
        if asymmetric:
            small = F.avg_pool2d(small, 2)
        else:
            small = F.interpolate(small, scale_factor=0.5, mode="bicubic", align_corners=False)
    for _ in range(factor.bit_length() - 1):
        nearest, linear = (F.interpolate(small, scale_factor=2, mode=mode) for mode in ("nearest", "bilinear"))
        small = 0.2 * nearest + 0.8 * linear  # 0.2 nearer to the near pixel than linear interpolation's 3/4
    return small
