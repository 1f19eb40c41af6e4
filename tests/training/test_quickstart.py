"""The quickstart as a newcomer runs it: it ends with pictures that are better than interpolation."""

import pytest
import torch
import torch.nn.functional as F
from support.training import CPU

from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.io.images import to_tensor
from vaezoo.io.read_image import read_picture
from vaezoo.io.resize_and_pad import resize_and_crop
from vaezoo.specs.catalog import sample_photos
from vaezoo.training.recipes import read_recipe
from vaezoo.training.run import train


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quickstart_beats_a_bicubic_reduction_and_enlargement(tmp_path):
    recipe = read_recipe("quickstart")
    report = train(recipe, tmp_path / "run", CPU)
    photos = torch.cat([to_tensor(resize_and_crop(read_picture(path), 256)) for path in sample_photos()])
    small = F.interpolate(photos, scale_factor=1 / 8, mode="bicubic", antialias=True)
    bicubic = psnr(F.interpolate(small, scale_factor=8, mode="bicubic"), photos).mean()
    assert report.psnr > bicubic
