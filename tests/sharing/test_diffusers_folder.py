"""An export for diffusers beside our own files: `with_diffusers=True`, loaded by the real `from_pretrained`."""

import json

import diffusers
import pytest
import torch
from support.diffusers_small import small_model
from support.representatives import first_of
from support.tiny_pipeline import DOCUMENTED, LDM, small

import vaezoo
from vaezoo.cli import main
from vaezoo.sharing import publish

PACKED = {"mean": tuple(range(20)), "var": tuple(range(1, 21)), "eps": 1e-3, "pack": 2}
STATISTICS = [
    ("AutoencoderKL", {"scale": 0.36, "shift": 0.12}),
    ("AutoencoderKLFlux2", PACKED),
    ("AutoencoderDC", {"scale": 0.5}),
    ("AutoencoderKL", {"scale": 0.5}),
    ("AutoencoderTiny", {"scale": 1.0}),
    ("AutoencoderKLHunyuanImage", {"scale": 0.5}),
]
OURS = ["README.md", "config.json", "model.safetensors"]
THEIRS = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]


@pytest.fixture
def vae(tmp_path, monkeypatch):
    """A small network that AutoencoderKL can express."""
    monkeypatch.setattr(publish, "show_samples", lambda vae, _: None)
    return small(tmp_path, LDM, scale=0.5)


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def assert_decodes_the_same(ours, theirs):
    z = torch.randn(1, ours.latent_channels, 4, 2)  # even sides, which packed latents need
    with torch.no_grad():
        image, other = ours.decode(z), theirs.decode(z).sample
        latents = ours.encode(image.clamp(-1, 1)).mode()
        again = vaezoo.from_diffusers(theirs).encode(image.clamp(-1, 1)).mode()
    assert (image - other).abs().max() <= 1e-4 * image.abs().max()
    assert (latents - again).abs().max() <= 1e-4 * latents.abs().max()


@pytest.mark.parametrize(("class_name", "stats"), first_of(STATISTICS, count=3))
def test_diffusers_loads_what_is_saved_beside_our_files(class_name, stats, tmp_path):
    vae = vaezoo.from_diffusers(small_model(class_name))
    vae.latent_stats = vaezoo.LatentStats(**stats)
    folder = vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
    assert files(folder) == OURS + THEIRS
    theirs = getattr(diffusers, class_name).from_pretrained(folder, subfolder="vae", low_cpu_mem_usage=False)
    assert_decodes_the_same(vae, theirs.eval())
    found, wanted = vaezoo.from_diffusers(theirs).latent_stats, vae.latent_stats
    assert (found.pack, found.eps, found.scale) == (wanted.pack, wanted.eps, wanted.scale)
    assert found.offset == pytest.approx(wanted.offset)
    assert found.gain == pytest.approx(wanted.gain)
    ours = vaezoo.create(f"local-dir:{folder}", pretrained=True)
    assert ours.spec.hash == vae.spec.hash
    assert vaezoo.create(f"local-dir:{folder}#vae", pretrained=True).spec.hash == vae.spec.hash
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'vaezoo.create("local-dir:FOLDER", pretrained=True)' in card
    assert f'{class_name}.from_pretrained("FOLDER", subfolder="vae")' in card


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")  # which diffusers passes on
def test_diffusers_loads_what_is_published_beside_our_files(hub, vae):
    push = vaezoo.push_to_hub(vae, "alice/vae", license="mit", token="hf_alice", with_diffusers=True)
    assert sorted(push.files) == OURS + THEIRS
    assert {*OURS, *THEIRS} <= hub.repos["alice/vae"].at(push.commit).files.keys()
    assert len(hub.repos["alice/vae"].commits) == 2  # that which made the repository, and one for all files
    theirs = diffusers.AutoencoderKL.from_pretrained("alice/vae", subfolder="vae", low_cpu_mem_usage=False)
    assert theirs.config.scaling_factor == 0.5
    assert_decodes_the_same(vae, theirs.eval())
    ours = vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert_decodes_the_same(ours, theirs)
    card = hub.repos["alice/vae"].at("main").files["README.md"].decode()
    assert 'AutoencoderKL.from_pretrained("alice/vae", subfolder="vae")' in card


def test_publishing_the_same_again_is_no_commit(hub, vae):
    options = {"license": "mit", "token": "hf_alice", "with_diffusers": True}
    first = vaezoo.push_to_hub(vae, "alice/vae", **options)
    assert vaezoo.push_to_hub(vae, "alice/vae", **options).commit == first.commit


def test_the_command_publishes_with_diffusers(hub, vae, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    vaezoo.save(vae, tmp_path / "mine")
    command = ["publish", f"local-dir:{tmp_path / 'mine'}", "alice/vae", "--license", "mit", "--with", "diffusers"]
    assert main([*command, "--dry-run", "--json"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["files"]) == OURS + THEIRS
    assert hub.requests == []
    assert main([*command, "--json"]) == 0
    assert set(THEIRS) <= hub.repos["alice/vae"].at("main").files.keys()


def test_a_network_that_diffusers_lacks_is_refused_before_anything_is_written(hub, tmp_path):
    vae = small(tmp_path, DOCUMENTED, scale=1.0)
    with pytest.raises(
        vaezoo.CheckpointError, match=r"not a network of any class of diffusers; the nearest is .*, except for "
    ):
        vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
    assert not (tmp_path / "saved").exists()
    with pytest.raises(vaezoo.CheckpointError, match="not a network of any class of diffusers"):
        vaezoo.push_to_hub(vae, "alice/vae", license="mit", token="hf_alice", with_diffusers=True)
    assert hub.requests == []


def test_unknown_statistics_are_refused_before_anything_is_written(vae, tmp_path):
    vae.latent_stats = None
    with pytest.raises(vaezoo.InputError, match=r"latent statistics, which are unknown: .*vae\.latent_stats = "):
        vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
    assert not (tmp_path / "saved").exists()


def test_a_save_that_fails_leaves_the_files_of_before(vae, tmp_path):
    folder = vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    with torch.no_grad():
        vae.encoder[0].bias.fill_(float("nan"))
    with pytest.raises(vaezoo.CheckpointError, match="not saved"):
        vaezoo.save(vae, folder, with_diffusers=True)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before


def test_a_file_where_the_folder_should_be_is_named(vae, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "vae").write_text("mine", encoding="utf-8")
    with pytest.raises(vaezoo.FileError, match=r"saved/vae: is not a folder"):
        vaezoo.save(vae, tmp_path / "saved", with_diffusers=True)
    assert files(tmp_path / "saved") == ["vae"]


def test_an_export_is_written_only_where_it_is_asked_for(vae, tmp_path):
    folder = vaezoo.save(vae, tmp_path / "saved")
    assert files(folder) == OURS
    assert "diffusers" not in (folder / "README.md").read_text(encoding="utf-8")
