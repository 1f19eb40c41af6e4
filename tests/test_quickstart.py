"""The long proof of the trainer: the quickstart recipe on real photos."""

import pytest
import torch
import torch.nn.functional as F
from training import train

import vaezoo
from vaezoo.evaluation.metrics import psnr
from vaezoo.specs.catalog import sample_photos
from vaezoo.training.log import read_log


def bicubic_psnr() -> float:
    """Mean PSNR in dB of the sample photos, made 8 times smaller per side and larger again."""
    values = []
    for path in sample_photos():
        images = vaezoo.load_image(path)
        small = F.interpolate(images, scale_factor=1 / 8, mode="bicubic", antialias=True)
        values += psnr(images, F.interpolate(small, scale_factor=8, mode="bicubic")).tolist()
    return sum(values) / len(values)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("data", ["photos", "samples"])
def test_the_quickstart_beats_a_bicubic_reduction(tmp_path, data, request):
    root = request.getfixturevalue("shared") / "photos" / "train" if data == "photos" else "null"
    train("quickstart", "--out", tmp_path / "run", f"--set=data.root={root}")
    assert read_log(tmp_path / "run")[-1]["psnr"] > bicubic_psnr() + 0.3
    vae = vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)
    with torch.inference_mode():
        images = vaezoo.load_image(sample_photos()[0])
        assert psnr(images, vae.decode(vae.encode(images).mode())) > 18
