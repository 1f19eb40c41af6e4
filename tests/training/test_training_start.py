"""Fine-tuning: which weights a run begins from, what of them stays, and what it says of their latents."""

import dataclasses

import pytest
import torch
from support.config_folder import add_records
from support.representatives import first_of
from support.small import small_vae, write_small
from support.training import assert_same, quiet, tensors_of, tiny_recipe, tiny_spec

import vaezoo
from vaezoo.errors import CheckpointError, InputError, SpecError
from vaezoo.io.files import sha256_of
from vaezoo.nn.build import build
from vaezoo.training.start import first_network
from vaezoo.weights.write_checkpoint import export_checkpoint

STATS = vaezoo.LatentStats(scale=0.5, shift=0.25)


def fine_tune(tmp_path, *settings):
    """Two steps from what the settings say; returns the tensors of the VAE after them."""
    quiet(recipe_of(tmp_path, *settings), tmp_path / "run")
    return trained(tmp_path, 2)


def recipe_of(tmp_path, *settings):
    return tiny_recipe(tmp_path, "steps=2", "discriminator=null", "schedule={}", *settings)


def trained(tmp_path, step):
    tensors = tensors_of(tmp_path / "run", step)
    return {name.removeprefix("task.vae."): x for name, x in tensors.items() if name.startswith("task.vae.")}


def loaded(tmp_path):
    return vaezoo.create(f"local-dir:{tmp_path / 'run'}", pretrained=True)


def tiny_with_statistics():
    vae = build(tiny_spec())
    vae.latent_stats = STATS
    return vae


def from_a_tag(tmp_path, request):
    folder = request.getfixturevalue("folder")
    vae = vaezoo.create("vae_f8_z4_micro")
    export_checkpoint(vae, folder / "weights" / "v1.safetensors")
    digest = sha256_of(folder / "weights" / "v1.safetensors")
    record = f"{{source: {{file: v1.safetensors}}, layout: native, license: mit, sha256: '{digest}'"
    add_records(folder, f"default: v1\nv1: {record}, latent_stats: {{scale: 0.5, shift: 0.25}}}}\n")
    return vae, ("network=mine_f8_z4.v1", "pretrained=true"), STATS


def from_a_folder(tmp_path, request):
    vae = tiny_with_statistics()
    return vae, (f"network='local-dir:{vaezoo.save(vae, tmp_path / 'saved')}'", "pretrained=true"), STATS


def from_the_hub(tmp_path, request):
    hub, vae = request.getfixturevalue("hub"), tiny_with_statistics()
    files = {path.name: path.read_bytes() for path in vaezoo.save(vae, tmp_path / "saved").iterdir()}
    hub.commit("alice/vae", files)
    return vae, ("network='hf-hub:alice/vae'", "pretrained=true"), STATS


def from_a_file_that_tells_its_network(tmp_path, request):
    vae = vaezoo.create("vae_f8_z4_micro")
    export_checkpoint(vae, tmp_path / "own.safetensors")
    return vae, (f"network='file:{tmp_path}/own.safetensors'", "pretrained=true"), None


def from_a_file_of_latent_diffusion(tmp_path, request):
    vae = small_vae("ldm_f8_z4")
    export_checkpoint(vae, tmp_path / "ldm.ckpt.safetensors", "ldm")
    network = write_small("ldm_f8_z4", tmp_path)
    return vae, (f"network={network}", f"pretrained='file:{tmp_path}/ldm.ckpt.safetensors'"), None


def from_the_two_files_of_a_taesd(tmp_path, request):
    vae = small_vae("taesd_f8_z4")
    files = f"{tmp_path}/encoder.safetensors,{tmp_path}/decoder.safetensors"
    export_checkpoint(vae, files, "taesd")
    return vae, (f"network={write_small('taesd_f8_z4', tmp_path)}", f"pretrained='file:{files}'"), None


STARTS = [
    from_a_tag,
    from_a_folder,
    from_the_hub,
    from_a_file_that_tells_its_network,
    from_a_file_of_latent_diffusion,
    from_the_two_files_of_a_taesd,
]


@pytest.mark.parametrize(
    "start",
    first_of([*STARTS[1:3], STARTS[0], *STARTS[3:]], count=2),
    ids=lambda start: start.__name__,
)
def test_a_decoder_is_trained_for_the_latents_of_an_encoder_that_stays_bit_by_bit(start, tmp_path, request):
    vae, settings, stats = start(tmp_path, request)
    before, after = vae.state_dict(), fine_tune(tmp_path, *settings, "train=decoder")
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("encoder.")}
    found = loaded(tmp_path)
    assert_same(dict(found.encoder.state_dict()), dict(vae.encoder.state_dict()))
    # statistics of unchanged latents are still theirs; where none are known they are measured
    assert found.latent_stats == stats if stats else len(found.latent_stats.mean) == vae.latent_channels


@pytest.mark.parametrize(
    ("train", "trained_part"), [("encoder", "encoder."), ("['decoder.1.*', decoder.0.bias]", "decoder.")]
)
def test_an_encoder_or_rows_by_pattern_are_trained_and_nothing_else(tmp_path, train, trained_part):
    vae, settings, _ = from_a_folder(tmp_path, None)
    after = fine_tune(tmp_path, *settings, f"train={train}")
    changed = {name for name, x in vae.state_dict().items() if not torch.equal(x, after[name])}
    rows = {"encoder.": ("encoder.",), "decoder.": ("decoder.1.", "decoder.0.bias")}[trained_part]
    assert changed == {name for name in after if name.startswith(rows)}


def test_statistics_of_latents_that_are_trained_are_measured_anew(tmp_path):
    _, settings, _ = from_a_folder(tmp_path, None)
    fine_tune(tmp_path, *settings)
    found = loaded(tmp_path).latent_stats
    assert (found.scale, found.shift, len(found.mean)) == (None, None, 2)


def test_a_resumed_run_still_knows_the_statistics_of_latents_that_stay(tmp_path):
    _, settings, stats = from_a_folder(tmp_path, None)
    fine_tune(tmp_path, *settings, "train=decoder")
    more = dataclasses.replace(recipe_of(tmp_path, *settings, "train=decoder"), steps=3)
    for path in (tmp_path / "saved").iterdir():
        path.unlink()  # where it began from is not asked again
    quiet(more, tmp_path / "run", resume=True)
    assert loaded(tmp_path).latent_stats == stats


def test_latent_channels_are_widened_from_weights_and_all_of_them_are_trained(tmp_path):
    vae, settings, _ = from_a_folder(tmp_path, None)
    recipe = recipe_of(tmp_path, *settings, "overrides.latent.channels=4")
    first = first_network(recipe)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        old, new = vae(images, sample=False), first(images, sample=False)
    torch.testing.assert_close(new.posterior.mean[:, :2], old.posterior.mean)
    torch.testing.assert_close(new.posterior.logvar[:, :2], old.posterior.logvar)
    torch.testing.assert_close(new.reconstruction, old.reconstruction)
    quiet(recipe, tmp_path / "run")
    after = trained(tmp_path, 2)
    # rows of the encoder's last convolution: means of 2 old and 2 new channels, then log-variances
    assert all((after["encoder.2.conv.weight"] != 0).flatten(1).any(1))
    assert all((after["decoder.0.weight"][:, 2:] != 0).flatten(2).any(2).any(0))
    assert len(loaded(tmp_path).latent_stats.mean) == 4


def test_padding_is_replaced_under_weights_that_stay(tmp_path):
    vae, settings, _ = from_a_folder(tmp_path, None)
    padding = "overrides={encoder.0.padding: reflect, encoder.1.padding: reflect, decoder.2.padding: reflect}"
    recipe = recipe_of(tmp_path, *settings, padding)
    first = first_network(recipe)
    assert_same(dict(first.state_dict()), dict(vae.state_dict()))
    assert first.encoder[0].padding_mode == first.decoder[2].conv.padding_mode == "reflect"
    quiet(recipe, tmp_path / "run")
    assert loaded(tmp_path).encoder[0].padding_mode == "reflect"


def test_weights_that_do_not_fit_the_overrides_are_told_by_the_tensor(tmp_path):
    _, settings, _ = from_a_folder(tmp_path, None)
    with pytest.raises(
        CheckpointError, match=r"shape       decoder\.0\.weight \(8, 2, 3, 3\), expected \(16, 2, 3, 3\)"
    ):
        fine_tune(tmp_path, *settings, "overrides={decoder.0.out: 16}")


def test_a_weights_file_is_named_as_one(tmp_path):
    with pytest.raises(SpecError, match=r"pretrained: expected true, false, or a file as in file:weights.safetensors"):
        tiny_recipe(tmp_path, "pretrained='hf-hub:alice/vae'")


def test_a_network_without_weights_says_how_to_give_it_some(tmp_path):
    with pytest.raises(InputError, match=r"tiny is a network without weights"):
        fine_tune(tmp_path, "pretrained=true")
