"""A package from outside brings a network, weights and a block, with no line of vaezoo changed."""

import json
import sys

import pytest
from support.commands import run
from support.training import write_photos
from support.zoo_package import BLOCK, MODEL, PACKAGE, add_weights, install

import vaezoo
from vaezoo.cli import main
from vaezoo.errors import InputError, SpecError
from vaezoo.nn import own_blocks
from vaezoo.nn.blocks import BLOCKS
from vaezoo.specs import catalog, extensions

QUESTION = f"""
question: Do wider gates help?
base: {MODEL}
grid: {{encoder.1.out: [8, 16]}}
recipe: {{name: quickstart, set: {{data.root: photos, data.sizes: [32], start: random, batch_size: 2}}}}
steps: 2
seeds: [0]
evaluation: {{root: photos, size: 32, nets: []}}
sizes: [32]
"""


def forget(patch: pytest.MonkeyPatch) -> None:
    """Forget what is installed and registered, and again after the test."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "gated_zoo"]:
        del sys.modules[module]
    for cache in (extensions.zoo_packages, extensions._config_folders):
        cache.cache_clear()
    patch.setattr(catalog, "_added", [])
    patch.setattr(extensions, "_modules", {})
    patch.setattr(own_blocks, "_OWN", {})
    BLOCKS.pop(BLOCK, None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The installed package; its configs."""
    forget(monkeypatch)
    configs = install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield configs
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        forget(patch)


def test_a_network_of_a_package_is_listed_without_importing_its_block_and_built_with_it(package, tmp_path):
    assert MODEL in vaezoo.list_models()
    assert "gated_zoo.blocks" not in sys.modules
    vae = vaezoo.create(MODEL)
    assert "gated_zoo.blocks" in sys.modules
    assert [row.arguments for row in vae.spec.decoder if row.block == BLOCK] == [{"out": 8, "strength": 0.25}]
    assert vae.spec.hash != vaezoo.create(MODEL, overrides={"decoder.3.strength": 0.3}).spec.hash
    with pytest.raises(SpecError, match=r"decoder\[3\]\.strength: expected 0(.0)? to 1(.0)?, got 2"):
        vaezoo.create(MODEL, overrides={"decoder.3.strength": 2})
    assert vaezoo.describe(vae, 32).costs.rows[1].shape == (8, 32, 32)
    environment = catalog.catalog_environment()
    assert environment[extensions.IMPORTS] == "gated_zoo.blocks"


def test_weights_of_a_package_load_by_name(package):
    add_weights(package)
    catalog._added.clear()
    vae = vaezoo.create(MODEL, pretrained=True)
    assert vae.source.tag == "demo"
    assert vaezoo.list_pretrained("gated*") == [f"{MODEL}.demo"]


def test_a_published_folder_names_the_package_of_a_block_and_does_not_load_without_it(package, tmp_path, monkeypatch):
    folder = vaezoo.save(vaezoo.create(MODEL), tmp_path / "saved")
    config = json.loads((folder / "config.json").read_text())
    assert config["blocks"] == {BLOCK: {"module": "gated_zoo.blocks", "package": PACKAGE}}
    assert (
        "The block `gate` is of the package `gated-zoo`, which must be installed." in (folder / "README.md").read_text()
    )
    assert vaezoo.create(f"local-dir:{folder}", pretrained=True).spec.encoder[1].block == BLOCK
    forget(monkeypatch)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "site")])
    needed = r"config\.json.*: the network has the block gate of the package gated-zoo, which is missing: "
    with pytest.raises(SpecError, match=needed + "pip install gated-zoo, if you trust its author"):
        vaezoo.create(f"local-dir:{folder}")

    class Other(vaezoo.Block):
        def __init__(self, in_channels: int, *, out: int) -> None:
            super().__init__()

    vaezoo.register_block(BLOCK, Other)
    with pytest.raises(SpecError, match=rf"the package gated-zoo, but gate is of the module {__name__} here"):
        vaezoo.create(f"local-dir:{folder}")


def test_an_adopted_model_says_which_module_its_block_needs(package, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    vaezoo.save(vaezoo.create(MODEL), "packaged")
    assert main(["adopt", "packaged", "mine.v1", "--license", "mit", "--into", "own"]) == 0
    assert "--import" not in capsys.readouterr().out
    monkeypatch.setattr(own_blocks, "zoo_packages", lambda: ())
    vaezoo.save(vaezoo.create(MODEL), "saved")
    assert main(["adopt", "saved", "mine.v2", "--license", "mit", "--into", "own"]) == 0
    assert capsys.readouterr().out.endswith("mine.v2 --config-dir own --import gated_zoo.blocks\n")


def test_a_package_that_takes_a_name_or_cannot_be_imported_is_one_error(package, tmp_path, monkeypatch):
    (package / "models" / "vae_f8_z4.yaml").write_text("{}")
    with pytest.raises(SpecError, match=r"the package gated-zoo: .*already exists at .*; uninstall it, or what has"):
        vaezoo.list_models()
    (package / "models" / "vae_f8_z4.yaml").unlink()
    blocks = package.parent / "blocks.py"
    blocks.write_text("import math\n\nmath.nothing\n")
    with pytest.raises(
        SpecError, match=r"gated_zoo\.blocks cannot be imported \(.*blocks\.py:3\): AttributeError: module"
    ):
        vaezoo.create(MODEL)


def test_commands_take_folders_and_modules(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extensions, "zoo_packages", lambda: ())
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "site")])
    monkeypatch.chdir(tmp_path / "site")
    own = ("--config-dir", package, "--import", "gated_zoo.blocks")
    assert MODEL in run(capsys, "list", "gated*", *own[:2])
    assert "gate" in run(capsys, "describe", MODEL, "--size", 32, *own)
    assert catalog.catalog_environment()[extensions.CONFIG_DIR] == str(package)
    with pytest.raises(InputError, match=r"--import no_such_module: no such module; put its folder on PYTHONPATH"):
        extensions.import_module("no_such_module")
    with pytest.raises(InputError, match=r"--import blocks\.py: expected the name of a module"):
        extensions.import_module("blocks.py")


def test_the_environment_names_folders(package, monkeypatch):
    monkeypatch.setattr(extensions, "zoo_packages", lambda: ())
    monkeypatch.setenv(extensions.CONFIG_DIR, str(package))
    assert MODEL in vaezoo.list_models()
    monkeypatch.setenv(extensions.CONFIG_DIR, str(package / "models"))
    catalog._added.clear()
    with pytest.raises(vaezoo.FileError, match=r"VAEZOO_CONFIG_DIR: .*models: no folder with models/"):
        vaezoo.list_models()


@pytest.mark.slow
@pytest.mark.timeout(900)  # it starts two processes that train
def test_a_package_is_listed_built_trained_ablated_and_published(package, tmp_path, hub, capsys, monkeypatch):
    add_weights(package)
    catalog._added.clear()
    write_photos(tmp_path / "photos", 4)
    (tmp_path / "question.yaml").write_text(QUESTION, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    assert "demo" in run(capsys, "list", "gated*", "--pretrained")
    assert "gate" in run(capsys, "describe", MODEL, "--size", 64)
    data = ["data.root=photos", "data.sizes=[32]", "validation.size=32"]
    recipe = [f"network={MODEL}", "start=random", "steps=2", "batch_size=2", *data]
    run(capsys, "train", "quickstart", "--out", "run", *(f"--set={setting}" for setting in recipe))
    answer = run(capsys, "ablate", "question.yaml", "--out", "answer", "--no-report")
    assert "2 runs, 0 done before" in answer
    assert f"{MODEL}+out16, seed 0: PSNR " in answer
    assert "alice/gated" in run(capsys, "publish", "run", "alice/gated", "--license", "mit")
    assert "gate" in run(capsys, "describe", "hf-hub:alice/gated", "--size", 32)
    forget(monkeypatch)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "site")])
    assert main(["describe", "hf-hub:alice/gated"]) == 2
    assert "the block gate of the package gated-zoo, which is missing: pip install" in capsys.readouterr().err
