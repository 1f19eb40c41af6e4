"""Every network and every set of weights under `configs/`, because it lies there: nothing here names one."""

import pytest
import torch
from support.representatives import one_of_each
from support.small import on_meta

import vaezoo
from vaezoo.analysis.costs import costs
from vaezoo.analysis.meta_kernels import MetaKernels
from vaezoo.formats.layouts import LAYOUTS
from vaezoo.nn.schema import check_spec
from vaezoo.specs.catalog import data_dir, model_file
from vaezoo.specs.tree import Location, from_plain
from vaezoo.weights.header import read_header
from vaezoo.weights.load import check_sha256
from vaezoo.weights.records import bundled_file, read_records

CONFIGS = data_dir("configs")
NAMES = sorted(path.stem for path in (CONFIGS / "models").rglob("*.yaml"))
RECORDS = [t for name in NAMES for t in read_records(name).by_tag.values()]
BUNDLED = [t for t in RECORDS if t.record.bundled and not t.record.removed_in]

every_network = pytest.mark.parametrize("name", NAMES)
SMALLEST_FIRST = sorted(NAMES, key=lambda name: vaezoo.get_spec(name).expect.params)
one_network_of_each_family = pytest.mark.parametrize("name", one_of_each(SMALLEST_FIRST))
every_record = pytest.mark.parametrize("tagged", RECORDS, ids=lambda t: t.name)
every_bundled_record = pytest.mark.parametrize("tagged", BUNDLED, ids=lambda t: t.name)


def test_there_are_networks_and_bundled_weights_and_all_are_listed():
    assert len(NAMES) >= 35
    assert BUNDLED
    assert set(NAMES) <= set(vaezoo.list_models())
    assert {t.name for t in RECORDS if t.record.loadable} <= set(vaezoo.list_pretrained())


def test_every_weights_file_has_a_network_and_every_bundled_file_a_record():
    folder = CONFIGS / "weights"
    assert {path.stem for path in folder.rglob("*.yaml")} <= set(NAMES)
    assert {path.name for path in folder.rglob("*.safetensors")} == {bundled_file(t).name for t in BUNDLED}


@every_network
def test_a_network_builds_on_the_meta_device_and_is_what_its_file_expects(name):
    vae = on_meta(name)
    assert all(t.is_meta for t in (*vae.parameters(), *vae.buffers()))
    assert vae.spec.expect is not None
    assert sum(p.numel() for p in vae.parameters()) == vae.spec.expect.params
    assert vae.downscale == vae.spec.expect.downscale
    assert not vae.training


@every_network
def test_the_name_of_a_network_says_its_downscale_and_latent_channels(name):
    vae = on_meta(name)
    assert f"_f{vae.downscale}_z{vae.latent_channels}_" in f"{name}_"


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("vae_f")])
def test_a_network_published_elsewhere_says_its_source_and_what_proves_it(name):
    assert "# Source: " in model_file(name).read_text(encoding="utf-8")
    proof = vaezoo.get_spec(name).expect.proof
    assert proof is not None
    assert bool(proof.diffusers) != bool(proof.second)
    assert proof.because or not proof.second


@one_network_of_each_family
@torch.no_grad()
def test_encode_and_decode_keep_the_promised_shapes(name):
    vae, rows, columns = on_meta(name), 3, 5
    height, width = rows * vae.downscale, columns * vae.downscale
    images = torch.empty(2, vae.spec.image.channels, height, width, device="meta")
    with MetaKernels():  # PyTorch's own group norm on the meta device is slow
        posterior = vae.encode(images)
        reconstruction = vae.decode(posterior.mode())
    assert posterior.mode().shape == (2, vae.latent_channels, rows, columns)
    assert posterior.std.shape == posterior.mode().shape
    assert vae.diffusion_shape(height, width) == (vae.latent_channels, rows, columns)
    assert reconstruction.shape == images.shape


@one_network_of_each_family
def test_the_costs_of_the_rows_add_up_to_the_whole_network(name):
    vae = on_meta(name)
    counted = costs(vae.spec, 256)  # which the tables of the docs count too
    for half in ("encoder", "decoder"):
        assert counted.params(half) == sum(p.numel() for p in getattr(vae, half).parameters())
        assert counted.gmacs(half) > 0
    assert counted.params() == vae.spec.expect.params
    assert counted.rows[-1].shape == (vae.spec.image.channels, 256, 256)


@every_network
def test_the_spec_as_plain_data_makes_the_same_network(name):
    spec = vaezoo.get_spec(name)
    again = check_spec(from_plain(spec.to_dict(), Location("config.json")))
    assert again == spec
    assert again.hash == spec.hash


@every_network
def test_a_network_has_a_summary_and_its_default_weights_exist(name):
    assert vaezoo.get_spec(name).summary.endswith(".")
    default, tagged = read_records(name)
    assert (default is None) == (not tagged)
    if default is not None:
        assert not tagged[default].record.removed_in


@every_record
def test_a_record_says_what_a_user_must_know(tagged):
    record = tagged.record
    assert record.license
    assert record.layout in LAYOUTS or not record.loadable
    if record.latent_stats is not None and not record.bundled:
        assert record.statistics_source
    if (
        not record.bundled
    ):  # the files of others may move: pinned and hashed, with their sources, or marked as unchecked
        assert not record.verified or (record.source.revision and record.sha256 and record.confidence)
        assert not record.confidence or record.source.revision or record.sha256
    if record.latent_stats is not None:
        record.latent_stats.check(vaezoo.get_spec(tagged.network).latent.channels, tagged.name)


@every_bundled_record
def test_bundled_weights_are_the_file_on_record(tagged):
    assert tagged.record.sha256 is not None
    check_sha256(bundled_file(tagged), tagged.record.sha256)


@every_bundled_record
def test_bundled_weights_load_completely_with_their_statistics(tagged):
    vae = vaezoo.create(tagged.name, pretrained=True, dtype=None)
    tensors = (*vae.parameters(), *vae.buffers())
    assert not any(t.is_meta for t in tensors)
    assert all(t.isfinite().all() for t in tensors)
    assert vae.latent_stats == tagged.record.latent_stats
    codes = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
    assert {codes[t.dtype] for t in tensors} == set(read_header(bundled_file(tagged)).dtypes.values())
    del vae
    vae = vaezoo.create(tagged.name, pretrained=True)
    side = 2 * vae.size_multiple
    reconstruction = vae(torch.zeros(1, vae.spec.image.channels, side, side)).reconstruction
    assert reconstruction.abs().max() < 2  # a grey picture comes back as something like a picture


def test_all_bundled_weights_together_stay_under_60_megabytes():
    assert sum(bundled_file(t).stat().st_size for t in BUNDLED) < 60e6
