"""Weights are read once, and a model knows where they are from."""

import copy
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from support import meta_builds
from support.commands import run

import vaezoo
from vaezoo.evaluation import protocol
from vaezoo.evaluation.results import model_cells
from vaezoo.io import files
from vaezoo.nn.vae import VAE
from vaezoo.sharing.card import card_text
from vaezoo.specs.source import WeightsSource
from vaezoo.warmstart.widen import widen
from vaezoo.weights import header

BUNDLED = "vae_f8_z4_micro"


@pytest.fixture
def folder(tmp_path) -> Path:
    return vaezoo.save(vaezoo.create(BUNDLED, pretrained=True), tmp_path / "saved")


@pytest.fixture
def counts(monkeypatch) -> Counter[str]:
    """How often headers were read, files hashed, and each network built on the meta device."""
    counter: Counter[str] = Counter()
    safe_open, sha256, initialize = header.safe_open, hashlib.sha256, VAE.__init__

    def count_header(*arguments, **options):
        counter["header"] += 1
        return safe_open(*arguments, **options)

    def count_hash(*arguments):
        counter["sha256"] += 1
        return sha256(*arguments)

    def count_build(self, spec):
        counter[f"build {spec.name} {spec.hash[:8]}"] += 1
        initialize(self, spec)

    vaezoo.get_spec(BUNDLED).hash  # noqa: B018 - specs hash themselves, which is not counted
    monkeypatch.setattr(header, "safe_open", count_header)
    monkeypatch.setattr(files, "hashlib", type("hashlib", (), {"sha256": staticmethod(count_hash)}))
    monkeypatch.setattr(VAE, "__init__", count_build)
    monkeypatch.setattr("vaezoo.nn.build._build_shapes", meta_builds.build_shapes)
    return counter


def builds(counts: Counter[str]) -> list[int]:
    return [count for what, count in counts.items() if what.startswith("build")]


@pytest.mark.parametrize("source", ["zoo", "local-dir", "file with network", "hf-hub", "hf-hub with lock"])
def test_create_reads_one_header_hashes_one_file_and_builds_one_network(source, folder, hub, counts, monkeypatch):
    monkeypatch.chdir(folder.parent)
    hub.commit("alice/vae", {path.name: path.read_bytes() for path in folder.iterdir()})
    name, options = {
        "zoo": (BUNDLED, {}),
        "local-dir": (f"local-dir:{folder}", {}),
        "file with network": (f"file:{folder}/model.safetensors", {"network": BUNDLED}),
        "hf-hub": ("hf-hub:alice/vae", {}),
        "hf-hub with lock": ("hf-hub:alice/vae", {}),
    }[source]
    if source == "hf-hub with lock":
        vaezoo.cli.main(["download", name])
    counts.clear()
    vae = vaezoo.create(name, pretrained=True, **options)
    # with a lock it is config.json, which is locked too: the weights were hashed by the download
    assert (counts["header"], counts["sha256"], builds(counts)) == (1, 1, [1])
    digest = hashlib.sha256(vae.source.files[0].read_bytes()).hexdigest()
    counts.clear()
    assert vae.source.sha256 == digest
    assert counts["sha256"] == 0  # it was known


def test_a_file_is_read_once_while_its_network_is_recognized(folder, counts):
    vae = vaezoo.create(f"file:{folder}/model.safetensors")
    assert (counts["header"], counts["sha256"]) == (1, 1)
    assert set(builds(counts)) == {1}  # of the networks that it could be
    assert vae.source.network == BUNDLED


def test_load_checkpoint_reads_one_header_and_hashes_on_request(folder, counts):
    vae = vaezoo.create(BUNDLED)
    counts.clear()
    path = folder / "model.safetensors"
    vaezoo.load_checkpoint(vae, path)
    assert (counts["header"], counts["sha256"], builds(counts)) == (1, 0, [])
    assert vae.source == WeightsSource(f"file:{path}", network=BUNDLED)
    assert [vae.source.sha256, vae.source.sha256] == [hashlib.sha256(path.read_bytes()).hexdigest()] * 2
    assert counts["sha256"] == 1


def test_recorded_weights_say_network_and_tag_and_so_does_a_copy():
    vae = vaezoo.create(BUNDLED, pretrained=True)
    (name,) = [name for name in vaezoo.list_pretrained() if name.startswith(f"{BUNDLED}.")]
    assert (vae.source.name, f"{vae.source.network}.{vae.source.tag}") == (BUNDLED, name)
    assert name in repr(vae)
    assert vae.source.sha256[:12] in repr(vae)
    assert copy.deepcopy(vae).source == vae.source
    assert f"| weights loaded from | `{name} (sha256 {vae.source.sha256[:12]})` |" in card_text(vae, None)
    assert vaezoo.describe(vae).source == vae.source
    assert vaezoo.describe(name).to_dict()["source"]["sha256"] == vae.source.sha256


def test_fresh_and_widened_weights_have_no_source(folder):
    fresh = vaezoo.create(BUNDLED)
    assert fresh.source is None
    assert "weights" not in repr(fresh).partition("\n")[0] + repr(fresh).partition("\n")[2].partition("\n")[0]
    wide = vaezoo.create(BUNDLED, pretrained=True, overrides={"latent.channels": 6})
    assert wide.source is None
    assert widen(vaezoo.create(BUNDLED, pretrained=True), wide.spec).source is None
    assert vaezoo.describe(BUNDLED).source is None
    assert vaezoo.create(BUNDLED, pretrained=True, overrides={"decoder.*.layers": 1}).source is not None


def test_a_saved_folder_is_the_source_of_what_is_loaded_from_it(folder):
    vae = vaezoo.create(f"local-dir:{folder}", pretrained=True)
    assert (vae.source.name, vae.source.network, vae.source.tag) == (f"local-dir:{folder}", BUNDLED, None)
    before = vae.source
    vaezoo.save(vae, folder.parent / "again")
    assert vae.source == before
    text = (folder.parent / "again" / "README.md").read_text(encoding="utf-8")
    assert f"a local file, sha256 `{before.sha256}`" in text
    assert str(folder) not in text


def test_a_row_is_of_what_was_measured_though_the_branch_moved_meanwhile(capsys, hub, folder, monkeypatch):
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    first = hub.commit("alice/vae", contents)
    other = vaezoo.save(vaezoo.create(BUNDLED), folder.parent / "other")
    evaluate = protocol.evaluate

    def evaluate_while_the_branch_moves(*arguments, **options):
        hub.commit("alice/vae", {path.name: path.read_bytes() for path in other.iterdir()})
        return evaluate(*arguments, **options)

    monkeypatch.setattr(protocol, "evaluate", evaluate_while_the_branch_moves)
    monkeypatch.chdir(folder.parent)
    Path("photos").mkdir()
    Image.effect_noise((32, 32), 60).convert("RGB").save("photos/a.png")
    (row,) = json.loads(
        run(capsys, "evaluate", "hf-hub:alice/vae", "--data", "photos", "--size", 16, "--nets", "--json")
    )
    assert row["sha256"] == hashlib.sha256(contents["model.safetensors"]).hexdigest()
    assert row["model"] == f"hf-hub:alice/vae@{first}"
    assert row["source"] == {
        "name": "hf-hub:alice/vae",
        "network": BUNDLED,
        "repo": "alice/vae",
        "commit": first,
        "sha256": row["sha256"],
    }
    now = vaezoo.create("hf-hub:alice/vae", pretrained=True)
    assert model_cells(now)["sha256"] != row["sha256"]


def test_describe_says_which_commit_a_name_on_the_hub_is(capsys, hub, folder):
    commit = hub.commit("alice/vae", {path.name: path.read_bytes() for path in folder.iterdir()})
    text = run(capsys, "describe", "hf-hub:alice/vae", "--size", 64)
    assert f"weights: hf-hub:alice/vae@{commit} (sha256 " in text
    data = json.loads(run(capsys, "describe", "hf-hub:alice/vae@main", "--size", 64, "--json"))
    assert (data["source"]["name"], data["source"]["commit"]) == ("hf-hub:alice/vae@main", commit)
