"""Protocols, the sharing of photos among processes, and the pictures of what went worst."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.checkout import ROOT
from support.offset_model import Offset, mean_and_spread, noise_photos

import vaezoo
from vaezoo.data.photos import Photo
from vaezoo.distributed import ProcessGroup, local_device
from vaezoo.errors import ImageError, InputError
from vaezoo.evaluation.case_sheet import case_sheet, latent_colors
from vaezoo.evaluation.latents.neighbors import knn_consistency
from vaezoo.evaluation.metrics.psnr import psnr
from vaezoo.evaluation.metrics.ssim import ssim
from vaezoo.evaluation.nets.frechet import Moments, frechet_distance
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.evaluation.tally import Nets
from vaezoo.io.captions import caption, reconstruction_caption


def test_the_second_protocol_rounds_half_up_to_8_bits_and_the_first_does_not():
    more, less = 0.51 / 127.5, 0.49 / 127.5  # of one level
    shift = {step: evaluate(Offset(step), noise_photos(1), 16).mean_psnr for step in (more, less)}
    assert shift[more] == pytest.approx(10 * np.log10(255**2), abs=1e-3)  # one whole level
    assert shift[less] == np.inf
    first = evaluate(Offset(less), noise_photos(1), 16, PROTOCOLS["reconstruction-1"])
    assert first.mean_psnr == pytest.approx(10 * np.log10(255**2 / 0.49**2), abs=1e-3)


def test_the_first_protocol_measures_what_it_always_did_and_nothing_else():
    nets = Nets({"lpips_vgg": lambda a, b: 1 / 0}, {"x": lambda a: 1 / 0})
    result = evaluate(Offset(0.1), noise_photos(2), 16, PROTOCOLS["reconstruction-1"], nets=nets)
    assert set(result.images) == {"psnr"}
    assert set(result.figures) == {"latent_mean", "latent_std", "posterior_std"}
    assert not result.frechet


def test_every_figure_is_what_its_function_gives_over_all_photos():
    found, vae = noise_photos(12), Offset(0.25, std=0.5)
    nets = Nets({"lpips_vgg": lambda a, b: (a - b).abs().mean(dim=(1, 2, 3))}, {"x": mean_and_spread})
    result = evaluate(vae, found, 16, nets=nets)
    images = torch.cat([vaezoo.to_tensor(photo.read()) for photo in found])
    shifted = ((images + 1.25) * 127.5 + 0.5).floor() / 127.5 - 1
    assert result.images["psnr"] == pytest.approx(psnr(images, shifted).tolist(), abs=1e-4)
    assert result.images["ssim"] == pytest.approx(ssim(images, shifted).tolist(), abs=1e-5)
    assert result.images["lpips_vgg"] == pytest.approx((images - shifted).abs().mean(dim=(1, 2, 3)).tolist(), abs=1e-5)
    assert "ms_ssim" not in result.images
    moments = Moments(), Moments()
    for stream, batch in zip(moments, (images, shifted), strict=True):
        stream.add(mean_and_spread(batch))
    assert result.frechet["x"] == pytest.approx(frechet_distance(*moments), rel=1e-3)
    pooled = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
    assert result.knn["x"] == knn_consistency(pooled, mean_and_spread(images), 10)
    assert result.figures["posterior_share"] == pytest.approx((0.5 / images.std(dim=(0, 2, 3), correction=0)).tolist())
    assert result.images["turn_error"] == pytest.approx([0] * 12, abs=1e-5)
    assert result.figures["flat_texture"] < 1e-9
    assert result.figures["flat_error"] == pytest.approx(127.5 * 0.25)
    assert result.spread("psnr") == pytest.approx(psnr(images, shifted).std(correction=0).item(), abs=1e-4)


def test_too_few_photos_leave_the_figures_of_sets_open():
    result = evaluate(Offset(), noise_photos(1), 16, nets=Nets({}, {"x": mean_and_spread}))
    assert result.frechet == result.knn == {"x": None}


def test_a_sample_has_the_noise_of_the_posterior_and_is_the_same_every_time():
    found = noise_photos(3, 32)
    results = [evaluate(Offset(std=0.2), found, 32, sample=True).psnr for _ in range(2)]
    assert results[0] == results[1]
    assert results[0] == pytest.approx([10 * np.log10(4 / 0.04)] * 3, abs=1)
    assert all(value > 90 for value in evaluate(Offset(std=0.2), found, 32).psnr)


@pytest.mark.parametrize("count", [2, 5])
def test_shares_joined_are_the_whole_and_no_photo_counts_twice(count):
    found, items = noise_photos(3), ["a", "b", "c"]
    shares = [ProcessGroup(rank, count).share(items) for rank in range(count)]
    assert sorted(pair for share in shares for pair in share) == list(enumerate(items))
    from vaezoo.evaluation.tally import Tally

    whole = Tally()
    for share in shares:
        part = Tally()
        for index, _ in share:
            images = vaezoo.to_tensor(found[index].read())
            posterior = Offset().encode(images)
            part.add(index, images, images + 0.1, posterior, posterior.mode())
        whole.merge(part)
    alone = evaluate(Offset(), found, 16)
    assert sorted(whole.figures) == [0, 1, 2]
    assert whole.channels.std().tolist() == pytest.approx(alone.figures["latent_std"])


TEAM = """
import json, sys
from support.offset_model import Offset, mean_and_spread, noise_photos
from vaezoo.distributed import process_group
from vaezoo.evaluation.protocol import evaluate
from vaezoo.evaluation.tally import Nets
with process_group("cpu") as team:
    result = evaluate(Offset(0.1, 0.3), noise_photos(13), 16, sample=True, keep=2,
                      nets=Nets({}, {"x": mean_and_spread}), processes=team)
    assert team.world_size == 2
    if team.rank == 1:
        print("RESULT" + json.dumps([result.images, result.figures, result.frechet, result.knn,
                                     [case.index for case in result.worst]]))
"""


@pytest.mark.slow
def test_two_real_processes_give_the_figures_of_one(tmp_path):
    script = tmp_path / "team.py"
    script.write_text(TEAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    images, figures, frechet, knn, worst = json.loads(done.stdout.partition("RESULT")[2].partition("\n")[0])
    nets = Nets({}, {"x": mean_and_spread})
    alone = evaluate(Offset(0.1, 0.3), noise_photos(13), 16, sample=True, keep=2, nets=nets)
    assert {name: len(values) for name, values in images.items()} == dict.fromkeys(alone.images, 13)
    for name, values in images.items():
        assert values == pytest.approx(list(alone.images[name]), rel=1e-6, abs=1e-6), name
    for name, value in alone.figures.items():
        assert figures[name] == pytest.approx(list(value) if isinstance(value, tuple) else value, rel=1e-6), name
    assert frechet == pytest.approx(alone.frechet)
    assert knn == alone.knn
    assert worst == [case.index for case in alone.worst]


def test_each_process_takes_its_own_gpu_and_any_other_device_as_it_is(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [local_device(device) for device in ("cuda", "cuda:0", "cpu")] == ["cuda:3", "cuda:0", "cpu"]


def test_worst_cases_come_first_and_the_sheet_shows_them():
    found = [*noise_photos(2), Photo("dark", lambda: Image.new("RGB", (16, 16), (1, 2, 3)))]
    result = evaluate(Offset(0.8), found, 16, keep=2)
    assert result.names[result.worst[0].index] == "dark"  # the others are clamped at white
    assert result.worst[0].psnr == min(result.psnr)
    sheet = case_sheet(result.worst)
    below = caption(reconstruction_caption(10.0), 128).shape[1]
    assert sheet.shape == (3, 2 * (128 + below) + 4, 4 * 128 + 3 * 4)  # enlarged by 8
    torch.testing.assert_close(sheet[:, :128:8, :128:8], vaezoo.to_tensor(found[2].read())[0])
    assert sheet[:, 128 : 128 + below, :128].min() < -0.5  # a caption
    assert not torch.equal(case_sheet(result.worst, result.names), sheet)  # names instead of indexes
    with pytest.raises(InputError, match="no images to tile"):
        case_sheet([])


def test_worst_cases_have_their_names_if_bad_photos_were_left_out():
    def read():
        raise ImageError("bad: damaged")

    found = [Photo("bad", read), *noise_photos(2), Photo("dark", lambda: Image.new("RGB", (16, 16), (1, 2, 3)))]
    result = evaluate(Offset(0.8), found, 16, keep=3, skip_bad=True)
    assert result.names[result.worst[0].index] == "dark"
    assert case_sheet(result.worst, result.names).shape[0] == 3


def test_latent_colours_are_principal_components_with_one_meaning_for_all():
    base = torch.randn(1, 1, 8, 8)
    strong = torch.cat([3 * base, 0.1 * torch.randn(1, 4, 8, 8)], dim=1)
    colors, again = latent_colors([strong, strong])
    assert colors.shape == (1, 3, 8, 8)
    assert torch.equal(colors, again)
    assert abs(torch.corrcoef(torch.stack([colors[0, 0].flatten(), base.flatten()]))[0, 1]) > 0.95
    assert colors[:, 0].std() > 5 * colors[:, 1].std()
    (grey,) = latent_colors([base])
    assert grey.shape == (1, 3, 8, 8)
    assert (grey[:, 1:] == 0).all()
