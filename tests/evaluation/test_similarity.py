"""SSIM, MS-SSIM, colour errors and Fréchet distance beside the libraries that others use."""

import numpy as np
import pytest
import scipy.linalg
import torch
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from vaezoo.errors import InputError
from vaezoo.evaluation.metrics.color import lab_error, to_lab
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.metrics.ssim import ms_ssim, ssim, ssim_map
from vaezoo.evaluation.nets.frechet import Moments, frechet_distance


def pair(size: int, noise: float = 0.2, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images in [-1, 1] and noisy ones that stay there."""
    coarse = torch.rand(batch, 3, 8, 8) * 1.6 - 0.8
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)
    return images, (images + noise * torch.randn_like(images)).clamp(-1, 1)


def unit(images: torch.Tensor) -> torch.Tensor:
    return (images + 1) / 2


def test_psnr_is_that_of_scikit_image():
    a, b = pair(20)
    theirs = [
        peak_signal_noise_ratio(unit(x).numpy(), unit(y).numpy(), data_range=1) for x, y in zip(a, b, strict=True)
    ]
    assert psnr(a, b).tolist() == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("noise", [0.01, 0.2, 1.0])
def test_ssim_is_that_of_torchmetrics_and_inside_the_border_that_of_scikit_image(noise):
    a, b = pair(33, noise)
    theirs = structural_similarity_index_measure(unit(b), unit(a), sigma=1.5, data_range=1.0, reduction="none")
    torch.testing.assert_close(ssim(a, b), theirs.double(), atol=2e-4, rtol=0)
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 1,
        "channel_axis": 0,
    }
    skimage = [
        structural_similarity(unit(x).double().numpy(), unit(y).double().numpy(), **options)
        for x, y in zip(a, b, strict=True)
    ]
    inside = ssim_map(a, b)[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    assert inside.tolist() == pytest.approx(skimage, abs=1e-6)


def test_ms_ssim_is_that_of_torchmetrics():
    a, b = pair(180, 0.3)
    theirs = multiscale_structural_similarity_index_measure(
        unit(b), unit(a), data_range=1.0, reduction="none", normalize="relu"
    )
    torch.testing.assert_close(ms_ssim(a, b), theirs.double(), atol=2e-4, rtol=0)


def test_similarity_is_1_for_equal_images_clamps_and_refuses_small_ones():
    a, _ = pair(176)
    torch.testing.assert_close(ssim(a, a), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(ms_ssim(a, a), torch.ones(3, dtype=torch.float64))
    white = torch.ones(1, 3, 11, 11)
    assert ssim(white, 5 * white).item() == pytest.approx(1)
    with pytest.raises(InputError, match="11 or more"):
        ssim(white[..., :10], white[..., :10])
    with pytest.raises(InputError, match="176 or more"):
        ms_ssim(a[..., :175], a[..., :175])


def test_lab_is_that_of_scikit_image_and_white_is_100_0_0():
    images = torch.rand(2, 3, 9, 9) * 2 - 1
    theirs = rgb2lab(unit(images).double().numpy(), channel_axis=1)
    np.testing.assert_allclose(to_lab(images).numpy(), theirs, atol=2e-3)
    torch.testing.assert_close(
        to_lab(torch.ones(1, 3, 1, 1)).flatten(), torch.tensor([100.0, 0, 0]).double(), atol=0.02, rtol=0
    )


def test_lab_errors_tell_lightness_from_colour():
    grey, lighter = torch.full((1, 3, 4, 4), -0.2), torch.full((1, 3, 4, 4), 0.3)
    luma, chroma = lab_error(grey, lighter)
    assert luma.item() > 20
    assert chroma.item() < 0.01
    reddish = grey + torch.tensor([0.2, -0.08, 0.0]).view(1, 3, 1, 1)
    luma, chroma = lab_error(grey, reddish)
    assert chroma.item() > 5 * luma.item()
    with pytest.raises(InputError, match="expected \\(B, 3"):
        lab_error(grey[:, :1], grey[:, :1])


def moments_of(features: torch.Tensor, batches: int = 3) -> Moments:
    moments = Moments()
    for batch in features.tensor_split(batches):
        moments.add(batch)
    return moments


def test_streamed_covariance_is_that_of_all_vectors_even_far_from_zero():
    features = torch.randn(50, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 1e6
    moments = moments_of(features, 7)
    assert moments.count == 50
    torch.testing.assert_close(moments.mean, features.mean(dim=0))
    torch.testing.assert_close(moments.covariance, torch.cov(features.T), rtol=1e-7, atol=1e-7)


def test_merged_moments_are_those_of_both_streams():
    features = torch.randn(31, 4)
    left, right, empty = moments_of(features[:9]), moments_of(features[9:]), Moments()
    for other in (right, Moments()):
        left.merge(other)
    empty.merge(left)
    torch.testing.assert_close(empty.covariance, torch.cov(features.double().T))
    assert empty.count == 31


@pytest.mark.parametrize("count", [200, 12])  # 12 vectors of 20 features have covariances without full rank
def test_frechet_distance_is_that_of_scipys_matrix_root(count):
    a, b = torch.randn(count, 20).double(), (torch.randn(count, 20) @ torch.randn(20, 20) / 3 + 0.5).double()
    ours = frechet_distance(moments_of(a), moments_of(b))
    covariances = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    offset = 1e-10 * np.eye(20)
    root = scipy.linalg.sqrtm((covariances[0] + offset) @ (covariances[1] + offset)).real
    theirs = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_frechet_distance_of_one_feature_is_known_by_hand():
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [11.0]])  # variances 2 and 32, means 1 and 7
    assert frechet_distance(moments_of(a), moments_of(b)) == pytest.approx(36 + 2 + 32 - 2 * 8)
    assert frechet_distance(moments_of(a), moments_of(a)) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_a_set_to_itself_is_0_with_fewer_vectors_than_features():
    features = torch.randn(10, 300)
    assert frechet_distance(moments_of(features), moments_of(features)) < 1e-9


def test_frechet_distance_refuses_too_few_vectors_and_other_features():
    with pytest.raises(InputError, match="1 vectors"):
        frechet_distance(moments_of(torch.ones(1, 3), 1), moments_of(torch.ones(4, 3)))
    with pytest.raises(InputError, match="of 3 features and 4 of 2"):
        frechet_distance(moments_of(torch.ones(4, 3)), moments_of(torch.ones(4, 2)))
