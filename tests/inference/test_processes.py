"""One image over several processes: the result of one process, on every rank."""

import os
import subprocess
import sys

import pytest
import torch
from support.checkout import ROOT
from support.rank_threads import on_ranks
from support.small import small_vae

import vaezoo
from vaezoo.inference.optimize import optimize
from vaezoo.inference.stream import reconstruct_rows

NAMES = ["ldm_reflect_f8_z4", "taef2_f8_z32", "sana_f32_z32", "cosmos_f8_z16"]
SCRIPT = """
import sys, torch
from support.small import small_vae
from vaezoo.distributed import process_group
from vaezoo.inference.optimize import optimize

torch.set_num_threads(1)
with process_group("cpu") as group, torch.inference_mode():
    for name in sys.argv[1:]:
        torch.manual_seed(0)
        vae = small_vae(name)
        x = torch.randn(1, 3, 5 * vae.size_multiple, 2 * vae.size_multiple)
        for tile in (None, 2 * vae.size_multiple):
            split = optimize(vae, "fp32", tile=tile, processes=group)
            z = vae.encode(x).mode()
            pairs = ((split.encode(x).moments, vae.encode(x).moments), (split.decode(z), vae.decode(z)))
            for found, expected in pairs:
                assert (found - expected).abs().max() < 1e-5 * expected.abs().max(), (name, tile)
    print("equal", flush=True)
"""


def far(result, expected):
    return ((result - expected).abs().max() / expected.abs().max()).item()


def check(name, count, height, tiles, batch=2):
    torch.manual_seed(0)
    vae = small_vae(name)
    x = torch.randn(batch, 3, height * vae.size_multiple, 2 * vae.size_multiple)
    with torch.inference_mode():
        moments = vae.encode(x).moments
        z = vae.encode(x).mode()
        images = vae.decode(z)
    for tile in tiles:

        def work(group, tile=tile):
            split = optimize(vae, "fp32", tile=tile and tile * vae.size_multiple, processes=group)
            with torch.inference_mode():
                return split.encode(x).moments, split.decode(z)

        for found in on_ranks(count, work):
            assert far(found[0], moments) < 1e-5
            assert far(found[1], images) < 1e-5


@pytest.mark.parametrize("name", ["ldm_reflect_f8_z4", pytest.param("sana_f32_z32", marks=pytest.mark.slow)])
def test_ranks_compute_what_one_process_computes(name):
    check(name, 2, 3, [None], batch=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_ranks_and_strips(name):
    check(name, 2, 5, [None, 1])
    check(name, 3, 7, [None, 2], batch=1)


@pytest.mark.slow
def test_ranks_of_torchrun():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command += [sys.executable, "-c", SCRIPT, *NAMES]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal") == 2


def test_an_image_of_too_few_rows_is_refused_on_every_rank():
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)

    def work(group):
        with torch.inference_mode(), pytest.raises(vaezoo.InputError, match="a map of 1 row cannot be split over 2"):
            optimize(vae, "fp32", processes=group).decode(torch.zeros(1, 4, 1, 3))

    on_ranks(2, work)


def test_what_cannot_be_split_is_refused():
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)

    def work(group):
        with pytest.raises(vaezoo.InputError, match="compile and processes cannot be combined"):
            optimize(vae, compile=True, processes=group)
        with pytest.raises(vaezoo.InputError, match="pictures are not streamed by several processes"):
            next(reconstruct_rows(optimize(vae, processes=group), torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()))

    on_ranks(2, work)
