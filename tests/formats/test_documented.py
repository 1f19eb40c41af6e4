"""The documented network and its checkpoints, against an implementation written from the document alone."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small import same_weights

import vaezoo
from vaezoo.benchmark.documented_vae import DocumentedVAE
from vaezoo.errors import CheckpointError
from vaezoo.specs import catalog
from vaezoo.specs.catalog import data_dir, model_file
from vaezoo.zoo.recognize import Candidate

SMALL = """
image: {channels: 3}
latent: {kind: gaussian, channels: 4}
shared: {norm: group, groups: 8, eps: 1.0e-5, act: silu, skip: conv}
encoder:
  - {block: conv, out: 16, kernel: 3}
  - {block: down, out: 24, layers: 2, resample: conv_4x4}
  - {block: down, out: 32, layers: 2, resample: null}
  - {block: mid, out: 32, layers: 2, heads: HEADS}
  - {block: mid, out: 48, layers: 2, heads: HEADS}
  - {block: head, out: moments, kernel: 3}
  - {block: conv, out: moments, kernel: 1}
decoder:
  - {block: conv, out: latent, kernel: 1}
  - {block: conv, out: 48, kernel: 3}
  - {block: mid, out: 32, layers: 2, heads: HEADS}
  - {block: mid, out: 32, layers: 2, heads: HEADS}
  - {block: up, out: 24, layers: 2, resample: null}
  - {block: up, out: 16, layers: 2, resample: conv_transpose_4x4}
  - {block: head, out: image, kernel: 3}
"""


@pytest.fixture
def real(shared):
    return shared / "weights" / "documented_photos.safetensors"


@pytest.fixture
def small(tmp_path):
    """The YAML file of a small network: two mid blocks, a level that keeps its size, `HEADS` heads."""

    def write(name="small", heads=4, **changes):
        text = SMALL.replace("HEADS", str(heads))
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    return write


def small_oracle(heads: int = 4) -> DocumentedVAE:
    return DocumentedVAE(
        down_channels=(16, 24, 32),
        mid_channels=(32, 32, 48),
        num_heads=heads,
        norm_channels=8,
        down_sample=(True, False),
    )


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """Every tensor drawn anew, norms and biases too, so that no two of them can be exchanged unnoticed."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
            parameter.copy_(torch.randn_like(parameter) / fan_in**0.5 + (1 if "norm" in name else 0))
    return model.eval()


def write_oracle(model: DocumentedVAE, path) -> str:
    save_file(model.state_dict(), path)
    return str(path)


@torch.no_grad()
def assert_same_function(vae: vaezoo.VAE, oracle: DocumentedVAE, *size: int) -> None:
    images = torch.rand(2, 3, *size) * 2 - 1
    out, (reconstruction, moments) = vae(images), oracle(images)
    for ours, theirs in [(out.posterior.moments, moments), (out.reconstruction, reconstruction)]:
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("heads", [1, 4])
def test_a_small_random_checkpoint_gives_the_same_moments_and_pictures(tmp_path, small, heads):
    oracle = randomized(small_oracle(heads))
    vae = vaezoo.create(small(heads=heads))
    vaezoo.load_checkpoint(vae, write_oracle(oracle, tmp_path / "x.safetensors"))
    for size in [(16, 16), (18, 10), (2, 34)]:
        assert_same_function(vae, oracle, *size)


@pytest.mark.slow
def test_the_full_network_with_random_weights_is_the_documented_function(tmp_path):
    oracle = randomized(DocumentedVAE())
    assert sum(p.numel() for p in oracle.parameters()) == 21_970_983
    path = write_oracle(oracle, tmp_path / "x.safetensors")
    vae = vaezoo.create(f"file:{path}", network="vae_f8_z4", layout="documented")
    assert_same_function(vae, oracle, 32, 24)


@pytest.mark.slow
def test_the_real_checkpoint_gives_the_same_moments_and_pictures(real):
    oracle = DocumentedVAE().eval()
    oracle.load_state_dict({key: tensor.float() for key, tensor in load_file(real).items()})
    vae = vaezoo.create(f"file:{real}")
    assert_same_function(vae, oracle, 24, 40)
    with torch.no_grad():
        photo = vaezoo.load_image(data_dir("configs") / "samples" / "kitten_on_lawn.png")[..., :32, :48]
        assert (vae(photo).reconstruction - oracle(photo)[0]).abs().max() < 1e-4


def test_what_we_export_is_what_the_documented_network_loads(tmp_path, small):
    vae, oracle = randomized(vaezoo.create(small())), small_oracle().eval()
    vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout="documented")
    oracle.load_state_dict(load_file(tmp_path / "x.safetensors"), strict=True)
    assert_same_function(vae, oracle, 12, 20)


def bytes_of(path) -> dict[str, tuple]:
    return {k: (t.dtype, t.shape, t.view(torch.uint8).numpy().tobytes()) for k, t in load_file(path).items()}


def test_import_and_export_of_the_real_checkpoint_change_no_byte_of_a_tensor(real, tmp_path):
    vae = vaezoo.create(f"file:{real}", dtype=None)
    vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout="documented")
    assert bytes_of(tmp_path / "x.safetensors") == bytes_of(real)


@pytest.mark.slow
def test_the_bundled_weights_travel_through_the_layout_unchanged(tmp_path):
    vae, path = vaezoo.create("vae_f8_z4", pretrained=True, dtype=None), tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vae, path, layout="documented")
    back = vaezoo.create(f"file:{path}", dtype=None)
    assert same_weights(back, vae)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder.*.skip": "auto"},
        {"*.*.act": "relu"},
        {"decoder.*.eps": 1e-6},
        {"encoder.4.heads": 0},
        {"encoder.2.heads": 4},
        {"encoder.1.resample": "conv_3x3_asymmetric"},
        {"decoder.5.resample": "nearest_conv_3x3"},
        {"encoder.6.kernel": 3},
        {"decoder.1.kernel": 1},
        {"decoder.6.kernel": 5},
        {"latent.kind": "deterministic"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_layout_refuses_a_network_that_it_cannot_express_and_writes_nothing(tmp_path, changes):
    vae = vaezoo.create("vae_f8_z4_micro", overrides=changes)
    with pytest.raises(CheckpointError, match="layout documented"):
        vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout="documented")
    assert list(tmp_path.iterdir()) == []


def test_the_layout_refuses_rows_in_another_order(tmp_path, small):
    path = small(**{"  - {block: head, out: moments, kernel: 3}\n": "  - {block: conv, out: moments, kernel: 3}\n"})
    with pytest.raises(CheckpointError, match="the encoder must be conv"):
        vaezoo.export_checkpoint(vaezoo.create(path), tmp_path / "x.safetensors", layout="documented")


def test_an_unknown_layout_names_those_that_exist(tmp_path):
    vae = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(CheckpointError, match="'ldm9' is not known; there are native, documented"):
        vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout="ldm9")


def test_recognize_tells_the_layout_and_the_network_of_a_file(real):
    assert vaezoo.recognize(real) == [Candidate("documented", "vae_f8_z4")]


@pytest.mark.slow  # a file of the full network, hashed twice
def test_recognize_tells_the_layouts_of_a_file_of_another_network(tmp_path):
    vae = vaezoo.create("vae_f16_z16")
    for layout in ("native", "documented"):
        vaezoo.export_checkpoint(vae, tmp_path / "x.safetensors", layout=layout, dtype=torch.float16)
        assert vaezoo.recognize(tmp_path / "x.safetensors") == [Candidate(layout, "vae_f16_z16")]


def test_recognize_finds_nothing_for_a_file_of_something_else(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    assert vaezoo.recognize(tmp_path / "x.safetensors") == []
    with pytest.raises(CheckpointError, match=r"fit no network of the zoo.*network="):
        vaezoo.create(f"file:{tmp_path / 'x.safetensors'}")


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A second network of the micro network's names and shapes, with three heads, for this test only."""
    monkeypatch.setattr(catalog, "_added", [])
    folder = tmp_path / "mine"
    (folder / "models").mkdir(parents=True)
    text = model_file("vae_f8_z4_micro").read_text().replace("heads: 1", "heads: 3")
    (folder / "models" / "three_heads.yaml").write_text(text)
    vaezoo.add_config_dir(folder)
    return "three_heads"


def test_networks_that_names_and_shapes_cannot_tell_apart_are_all_listed(tmp_path, twin):
    path = tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vaezoo.create(twin), path, layout="documented")
    assert {c.network for c in vaezoo.recognize(path)} == {"vae_f8_z4_micro", twin}
    assert {c.layout for c in vaezoo.recognize(path)} == {"documented"}
    with pytest.raises(CheckpointError, match=r"fit several networks.*three_heads.*network=.*tag=") as caught:
        vaezoo.create(f"file:{path}")
    assert "vae_f8_z4_micro (layout documented)" in str(caught.value)
    assert vaezoo.create(f"file:{path}", network=twin).encoder[4].attentions[0].heads == 3
    assert vaezoo.create(f"file:{path}", network="vae_f8_z4_micro").encoder[4].attentions[0].heads == 1


def test_a_file_that_vaezoo_wrote_is_decided_by_its_spec_hash(tmp_path, twin):
    path = tmp_path / "x.safetensors"
    vaezoo.export_checkpoint(vaezoo.create(twin), path)
    assert vaezoo.recognize(path) == [Candidate("native", twin)]
    assert vaezoo.create(f"file:{path}").encoder[4].attentions[0].heads == 3
    other = vaezoo.create("vae_f8_z4_micro")
    with pytest.raises(CheckpointError, match="same shapes, another function"):
        vaezoo.load_checkpoint(other, path)
    vaezoo.load_checkpoint(other, path, layout="native")  # named: the caller knows


def test_without_the_twin_the_same_file_is_the_micro_network(tmp_path):
    assert "three_heads" not in vaezoo.list_models()
    vaezoo.export_checkpoint(vaezoo.create("vae_f8_z4_micro"), tmp_path / "x.safetensors", layout="documented")
    assert vaezoo.recognize(tmp_path / "x.safetensors") == [Candidate("documented", "vae_f8_z4_micro")]
