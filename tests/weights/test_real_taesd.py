"""The real TAESD files on real photos, against diffusers' AutoencoderTiny and our second implementation of TAEF2."""

import csv

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file
from support import second_tiny
from support.checkout import ROOT

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.evaluation.protocol import PROTOCOLS, evaluate
from vaezoo.io.images import to_tensor
from vaezoo.io.resize_and_pad import resize_and_crop

CHANNELS = {"taesd": 4, "taesd3": 16, "taef1": 16, "taef2": 32}
HALVES = ("encoder", "decoder")
with (ROOT / "docs" / "results" / "taesd.csv").open(newline="", encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))


def opened(shared, name, dtype=torch.float32) -> vaezoo.VAE:
    paths = ",".join(f"{shared / 'weights' / f'{name}_{half}.safetensors'}" for half in HALVES)
    return vaezoo.create(f"file:{paths}", dtype=dtype)


def original(shared, name, dtype=torch.float32) -> torch.nn.Module:
    """The same tensors in AutoencoderTiny, whose decoder counts from 0 what the files count from 1; or in TAEF2."""
    encoder, decoder = (load_file(shared / "weights" / f"{name}_{half}.safetensors") for half in HALVES)
    if name == "taef2":
        model = second_tiny.taef2()
        model.encoder.load_state_dict(encoder, strict=True)
        model.decoder.load_state_dict(decoder, strict=True)
        return model.to(dtype)
    tensors = {f"encoder.layers.{key}": tensor for key, tensor in encoder.items()}
    for key, tensor in decoder.items():
        number, _, rest = key.partition(".")
        tensors[f"decoder.layers.{int(number) - 1}.{rest}"] = tensor
    model = AutoencoderTiny(latent_channels=CHANNELS[name])
    model.load_state_dict(tensors, strict=True)
    return model.to(dtype)


def encoded(model, images):
    found = model.encode(images)
    return found if isinstance(found, torch.Tensor) else found.latents


def decoded(model, z):
    found = model.decode(z)
    return found if isinstance(found, torch.Tensor) else found.sample


@pytest.fixture
def images(shared) -> torch.Tensor:
    """Two photos, brought to 64 pixels, wider than high."""
    found = photos(shared / "photos" / "val")[:2]
    return torch.cat([to_tensor(resize_and_crop(photo.read(), 64)) for photo in found])[..., 8:56, :]


PAIRS = [(name, torch.float32, 1e-5) for name in CHANNELS]
# bfloat16 has eight bits; not for TAEF2, whose second implementation computes its norms step by step in them
PAIRS += [(name, torch.bfloat16, 2**-8) for name in CHANNELS if name != "taef2"]
BY_DEFAULT = [("taesd", torch.float32), ("taef2", torch.float32)]
PAIRS = [pytest.param(*pair, marks=[] if pair[:2] in BY_DEFAULT else [pytest.mark.slow]) for pair in PAIRS]


@pytest.mark.parametrize(("name", "dtype", "tolerance"), PAIRS)
@torch.inference_mode()
def test_real_weights_say_of_real_photos_what_the_original_says(shared, images, name, dtype, tolerance):
    if dtype == torch.bfloat16:  # many CPUs have no fast convolution in bfloat16: a small crop of the same photos
        images = images[..., 16:32, 24:40]
    images = images.to(dtype)
    vae, theirs = opened(shared, name, dtype), original(shared, name, dtype)
    z, expected = vae.encode(images).mode(), encoded(theirs, images)
    assert (z - expected).abs().max() <= tolerance * expected.abs().max()
    picture, expected = vae.decode(z), decoded(theirs, z)
    assert (picture - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["weights"])
def test_the_figures_in_the_results_are_those_of_the_files(shared, row):
    vae = opened(shared, row["weights"])
    assert vae.spec.hash.startswith(row["spec_hash"])
    found = evaluate(vae, photos(shared / "photos" / row["data"]), int(row["size"]), PROTOCOLS[row["protocol"]])
    assert found.mean_psnr == pytest.approx(float(row["psnr"]), abs=0.01)


def test_the_results_are_of_all_files_there_are(shared):
    assert len(photos(shared / "photos" / "val")) == int(ROWS[0]["images"])
    there = {path.name.partition("_")[0] for path in (shared / "weights").glob("*_decoder.safetensors")}
    assert {row["weights"] for row in ROWS} == there == CHANNELS.keys()
