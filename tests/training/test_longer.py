"""Training longer what a run folder holds: `vaezoo train RUN --steps N`."""

from dataclasses import replace

import pytest
from support.short_runs import SETTINGS
from support.training import quiet, tiny_recipe

import vaezoo
from vaezoo.cli import main
from vaezoo.errors import FileError
from vaezoo.io.files import make_folder
from vaezoo.training import artifacts
from vaezoo.training.log import read_log
from vaezoo.training.longer import recipe_of_run
from vaezoo.training.recipes import read_recipe, recipe_text


@pytest.mark.slow
def test_a_run_goes_on_in_its_folder_or_starts_a_new_one_from_its_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(artifacts, "STATISTICS_CROPS", 4)
    run, new = tmp_path / "run", tmp_path / "new"
    quiet(tiny_recipe(tmp_path, *SETTINGS), run)
    assert main(["train", str(run), "--steps", "4"]) == 0
    assert read_recipe(run / "recipe.yaml").steps == 4
    assert max(line["step"] for line in read_log(run)) == 4
    assert (run / "curves.svg").is_file()
    assert main(["train", str(run), "--out", str(new), "--steps", "1", "--set", "optimizer.lr=0"]) == 0
    old = vaezoo.create(f"local-dir:{run}", pretrained=True).state_dict()
    for key, tensor in vaezoo.create(f"local-dir:{new}", pretrained=True).state_dict().items():
        assert tensor.allclose(old[key], atol=1e-6), key
    assert main(["train", str(new), "--steps", "2"]) == 0  # of a run that started from another one
    capsys.readouterr()
    assert main(["train", str(run), "--out", str(new), "--resume"]) == 2
    assert f"vaezoo train {new}" in capsys.readouterr().err
    assert main(["train", "quickstart"]) == 2
    assert "--out: name the run folder" in capsys.readouterr().err


def test_what_initialized_the_first_run_is_left_out_of_the_second(tmp_path):
    recipe = replace(tiny_recipe(tmp_path), start="resampler", overrides={"latent.channels": 3})
    run = make_folder(tmp_path / "run")
    with pytest.raises(FileError, match=r"holds no run, because it has no recipe\.yaml"):
        recipe_of_run(run, {}, anew=True)
    (run / "recipe.yaml").write_text(recipe_text(recipe), encoding="utf-8")
    assert recipe_of_run(run, {}, anew=False) == recipe
    with pytest.raises(FileError, match=r"no weights yet; continue it with vaezoo train "):
        recipe_of_run(run, {}, anew=True)
    (run / "config.json").touch()
    (make_folder(run / "ablated" / "train") / "recipe.yaml").touch()
    (run / "ablated" / "recipe.yaml").touch()
    with pytest.raises(FileError, match=r"ablated: holds a run of an ablation, .*ablated/train; name"):
        recipe_of_run(run / "ablated", {}, anew=False)
    found = recipe_of_run(run, {}, anew=True)
    assert (found.network, found.pretrained) == (f"local-dir:{run}", True)
    assert replace(found, network=recipe.network, pretrained=False) == replace(recipe, start="random", overrides={})
