"""`scripts/train_on_gpu.py`: as many steps as fit into a time, and weights in small files; on the CPU here."""

import pytest
import torch
from PIL import Image
from support.checkout import ROOT
from support.training import tiny_recipe, write_photos, write_recipe

import vaezoo
from vaezoo.errors import TrainingError
from vaezoo.training.recipes import read_recipe


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import train_on_gpu

    return train_on_gpu


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_photos_are_packed_to_a_shorter_side_and_never_enlarged(script, tmp_path, capsys):
    script.main(["pack", str(write_photos(tmp_path / "photos")), str(tmp_path / "small"), "--side", "20"])
    sizes = [size_of(path) for path in sorted((tmp_path / "small").iterdir())]
    assert sizes == [(20, 20), (20, 20), (21, 20), (22, 20), (22, 20)]
    assert "MiB of photos" in capsys.readouterr().out
    script.main(["pack", str(tmp_path / "photos"), str(tmp_path / "same"), "--side", "99"])
    assert size_of(tmp_path / "same" / "4.webp") == (44, 40)


def test_weights_are_divided_among_files_without_loss(script, monkeypatch):
    monkeypatch.setattr(script, "LARGEST", script.MIB + 100)
    tensors = {str(n): torch.zeros(n) for n in (10, 30, 2)}
    parts = list(script.split([*tensors.items(), ("last", torch.zeros(1))]))
    assert [list(part) for part in parts] == [["10"], ["30"], ["2", "last"]]


@pytest.mark.slow
def test_a_time_that_is_too_short_is_told(script, tmp_path):
    recipe = write_recipe(tmp_path)
    options = ["--minutes", "0.001", "--trial", "2", "--set", "discriminator=null", "--set", "validation.size=16"]
    with pytest.raises(TrainingError, match=r"measuring took all of the 0\.001 minutes"):
        script.main(["train", str(recipe), str(tmp_path / "run"), str(tmp_path / "out"), *options])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("compile_too", [[], ["--compile", "aot_eager"]])
def test_a_run_ends_in_time_with_weights_that_load(script, tmp_path, compile_too, monkeypatch):
    recipe, run, out = write_recipe(tmp_path), tmp_path / "run", tmp_path / "out"
    monkeypatch.setattr(script, "LARGEST", script.MIB + 4000)
    options = ["--minutes", "0.5", "--reserve", "1", "--trial", "8", "--set", "discriminator=null", *compile_too]
    script.main(["train", str(recipe), str(run), str(out), *options])
    assert {"recipe.yaml", "log.jsonl", "model.safetensors.index.json"} < {path.name for path in out.iterdir()}
    assert len(list(out.glob("model-*.safetensors"))) > 1
    assert read_recipe(out / "recipe.yaml").steps != tiny_recipe(tmp_path).steps
    expected = vaezoo.create(f"local-dir:{run}", pretrained=True).state_dict()
    network = str(tmp_path / "tiny.yaml")
    found = vaezoo.create(f"file:{out}/model.safetensors.index.json", network=network).state_dict()
    assert all(torch.equal(found[name], expected[name].bfloat16().float()) for name in expected)
