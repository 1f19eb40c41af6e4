"""Several processes train what one would with all their photos, to the rounding of float32."""

import pytest
import torch
from support.training import tensors_of, train, write_recipe

import vaezoo
from vaezoo.training.log import read_log

OPTIMIZER = "{name: adamw, lr: 1e-2, eps: 1e-2}"  # an eps that does not blow rounding up where gradients vanish
GAME = "{kind: patchgan, width: 4, layers: 1, groups: 2, weight: 0.1, adaptive: true, lecam: 0.01, start: 2"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One rank with batch 4, and two with batch 2: a run folder each, with a regulariser and a discriminator."""
    folder = tmp_path_factory.mktemp("ranks")
    recipe = write_recipe(folder)
    settings = [
        f"optimizer={OPTIMIZER}",
        f"discriminator={GAME}, optimizer: {OPTIMIZER}}}",
        "regularizers=[{kind: equivariance, weight: 0.5}]",
        "accumulate=2",
    ]
    options = [f"--set={setting}" for setting in settings]
    train(recipe, "--out", folder / "one", "--set=batch_size=4", *options)
    train(recipe, "--out", folder / "two", "--set=batch_size=2", *options, ranks=2)
    return folder / "one", folder / "two"


def test_two_ranks_give_the_weights_of_one_with_twice_the_batch(runs):
    one, two = (tensors_of(run, 6) for run in runs)
    names = [name for name in one if not name.startswith("random.")]
    assert any(name.startswith("task.adversary.") for name in names)
    for name in names:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name} {text}"
        )


def test_two_ranks_log_the_losses_of_both(runs):
    one, two = ([line for line in read_log(run) if "loss" in line] for run in runs)
    assert [line["step"] for line in two] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(one, two, strict=True):
        assert b["l1"] == pytest.approx(a["l1"], rel=1e-3)
        assert b["equivariance"] == pytest.approx(a["equivariance"], rel=1e-3)


def test_the_random_state_of_every_rank_is_kept(runs):
    one, two = (tensors_of(run, 6) for run in runs)
    assert sum(name.startswith("random.") for name in one) == 1
    assert sum(name.startswith("random.") for name in two) == 2


def test_a_run_of_two_ranks_is_one_folder_that_loads(runs):
    assert vaezoo.create(f"local-dir:{runs[1]}", pretrained=True).latent_stats is not None
