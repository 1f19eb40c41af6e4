"""One step: whose gradients, in which precision, what is skipped; each fault of known trainers has its test."""

import copy
import math

import pytest
import torch
from support.training import CPU, loader_of, tiny_recipe, tiny_spec
from torch import nn

from vaezoo.errors import InputError, SpecError, TrainingError
from vaezoo.nn.build import build
from vaezoo.training.loop import Stepper, draw_noise
from vaezoo.training.objective.task import choose_trained
from vaezoo.training.start import begin
from vaezoo.training.state import State


def started(recipe) -> State:
    torch.manual_seed(recipe.seed)
    return begin(build(tiny_spec()), recipe, CPU.device)


def run(recipe, state=None, steps=None) -> State:
    """The state after the recipe's steps, or so many of them."""
    state = state or started(recipe)
    stepper, batches = Stepper(state, recipe, CPU), iter(loader_of(recipe))
    for _ in range(recipe.steps if steps is None else steps):
        stepper.step([next(batches) for _ in range(recipe.accumulate)])
    return state


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.slow
def test_training_lowers_the_loss_of_a_batch(tmp_path):
    recipe = tiny_recipe(tmp_path, "steps=60", "discriminator=null", "data.sizes=[16]")
    state = started(recipe)
    stepper, batch = Stepper(state, recipe, CPU), next(iter(loader_of(recipe)))
    losses = [float(stepper.step([batch])["loss"]) for _ in range(60)]
    assert losses[-1] < 0.6 * losses[0]


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path):
    settings = ("discriminator=null", "optimizer.name=sgd", "optimizer.lr=0.1", "optimizer.betas=null", "clip=null")
    two, one = (run(tiny_recipe(tmp_path, *settings, *more)) for more in (["accumulate=2"], ["batch_size=4"]))
    for name, tensor in one.task.vae.state_dict().items():
        torch.testing.assert_close(two.task.vae.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_weights_optimiser_and_average_stay_float32_under_bf16(tmp_path):
    recipe = tiny_recipe(tmp_path, "precision=bf16", "channels_last=true")
    state = started(recipe)
    seen = []
    state.task.vae.encoder[0].register_forward_hook(lambda module, x, y: seen.append(y.dtype))
    before = weights(state.task.vae)
    run(recipe, state)
    assert set(seen) == {torch.bfloat16}
    values = [t for s in state.vae.optimizer.state.values() for t in s.values() if t.ndim]
    for tensor in (*state.task.state_dict().values(), *state.ema.module.state_dict().values(), *values):
        assert tensor.dtype in (torch.float32, torch.int64)
    moved = [(state.task.vae.state_dict()[name] - tensor) for name, tensor in before.items()]
    # steps too small for bfloat16 reach the weights
    assert all(bool((delta != delta.bfloat16()).any()) for delta in moved if delta.numel() > 50)


def test_losses_are_float32_under_bf16(tmp_path):
    recipe = tiny_recipe(tmp_path, "precision=bf16")
    state = started(recipe)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    out = state.task.reconstruct(images, torch.zeros(2, 2, 8, 8))
    assert out.reconstruction.dtype == out.posterior.moments.dtype == out.latents.dtype == torch.float32
    parts = state.task("vae", images, torch.zeros(2, 2, 8, 8), 0, torch.Generator())
    assert all(part.dtype == torch.float32 for part in parts.values())


def test_the_discriminator_begins_after_so_many_steps_of_the_vae(tmp_path):
    recipe = tiny_recipe(tmp_path)  # start: 2
    state = started(recipe)
    before = weights(state.task.adversary)
    run(recipe, state, steps=2)
    assert not changed(before, weights(state.task.adversary))
    state = run(recipe, steps=3)
    assert changed(before, weights(state.task.adversary))


def test_the_start_counts_steps_whatever_is_accumulated(tmp_path):
    recipe = tiny_recipe(tmp_path, "accumulate=3")
    state = started(recipe)
    before = weights(state.task.adversary)
    run(recipe, state, steps=2)
    assert not changed(before, weights(state.task.adversary))


def test_the_discriminators_step_does_not_touch_the_vae(tmp_path):
    state = started(tiny_recipe(tmp_path))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    reconstruction = state.task.reconstruct(images, torch.zeros(2, 2, 8, 8)).reconstruction  # with its graph
    state.task("discriminator", images, reconstruction)["loss"].backward()
    assert all(p.grad is None for p in state.task.vae.parameters())
    assert all(p.grad is not None for p in state.task.adversary.parameters())


def test_the_vaes_step_does_not_touch_the_discriminator_and_feels_it(tmp_path):
    state = started(tiny_recipe(tmp_path, "losses.0.weight=0", "losses.1.weight=0"))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    state.task("vae", images, torch.zeros(2, 2, 8, 8), 2, torch.Generator())["loss"].backward()
    assert all(p.grad is None for p in state.task.adversary.parameters())
    assert any(p.grad.abs().sum() > 0 for p in state.task.vae.parameters())


def test_no_gradient_of_a_step_is_left_for_the_next_one(tmp_path):
    state = run(tiny_recipe(tmp_path), steps=4)  # the discriminator plays from the third on
    assert all(p.grad is None for p in state.task.parameters())


def test_learned_parameters_of_losses_are_trained(tmp_path):
    recipe = tiny_recipe(tmp_path, "losses=[{kind: nll, weight: 1, pixels: l1}]")
    state = run(recipe)
    assert state.task.losses[0].logvar.item() != 0


def test_a_step_without_a_finite_gradient_changes_nothing_and_is_counted(tmp_path):
    recipe = tiny_recipe(tmp_path, "discriminator=null")
    state = run(recipe, steps=2)
    before, average = weights(state.task.vae), weights(state.ema.module)
    moments = copy.deepcopy(state.vae.optimizer.state_dict()["state"])
    state.task.losses[0].forward = lambda out, images: out.reconstruction.sum() * math.nan
    batch = next(iter(loader_of(recipe)))
    assert Stepper(state, recipe, CPU).step([batch]) is None
    assert not changed(before, weights(state.task.vae))
    assert not changed(average, weights(state.ema.module))
    for key, values in state.vae.optimizer.state_dict()["state"].items():
        assert not changed(moments[key], values)
    assert (state.progress.step, state.progress.skipped, state.progress.streak) == (3, 1, 1)
    del state.task.losses[0].forward
    assert Stepper(state, recipe, CPU).step([batch]) is not None
    assert (state.progress.skipped, state.progress.streak) == (1, 0)


def test_many_steps_in_a_row_without_a_finite_gradient_are_an_error(tmp_path):
    recipe = tiny_recipe(tmp_path, "discriminator=null", "bad_steps=3")
    state = started(recipe)
    state.task.losses[0].forward = lambda out, images: out.reconstruction.sum() * math.inf
    with pytest.raises(
        TrainingError, match=r"step 3: the gradient was not finite 3 times in a row; lower optimizer.lr"
    ):
        run(recipe, state)


def test_the_gradient_is_clipped(tmp_path):
    sgd = "optimizer={name: momentum, lr: 1, momentum: 0.0}"
    recipe = tiny_recipe(tmp_path, "discriminator=null", "clip=0.01", "schedule={}", sgd)
    state = started(recipe)
    before = weights(state.task.vae)
    run(recipe, state, steps=1)
    after = weights(state.task.vae)
    moved = math.sqrt(sum(float((after[name] - before[name]).square().sum()) for name in before))
    assert moved == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("train", "trained"),
    [("decoder", "decoder."), ("encoder", "encoder."), ("[decoder.2.*]", "decoder.2."), ("all", "")],
)
def test_only_what_the_recipe_trains_changes(tmp_path, train, trained):
    recipe = tiny_recipe(tmp_path, f"train={train}", "optimizer.weight_decay=0.5")
    state = started(recipe)
    before = weights(state.task.vae)
    run(recipe, state)
    assert changed(before, weights(state.task.vae)) == {name for name in before if name.startswith(trained)}


def test_a_pattern_that_fits_nothing_is_an_error():
    with pytest.raises(SpecError, match=r"train: 'decodr.\*' fits no parameter of tiny; they are encoder.0"):
        choose_trained(build(tiny_spec()), ("decodr.*",))


def test_norms_and_biases_have_no_weight_decay(tmp_path):
    state = started(tiny_recipe(tmp_path))
    groups = {group["weight_decay"]: group["params"] for group in state.vae.optimizer.param_groups}
    assert set(groups) == {0.0, 0.01}
    assert all(p.ndim <= 1 for p in groups[0.0])
    assert all(p.ndim > 1 for p in groups[0.01])


def test_the_learning_rate_warms_up_and_comes_down(tmp_path):
    recipe = tiny_recipe(
        tmp_path, "steps=20", "schedule={warmup: 4, end: 0.1}", "optimizer.lr=1e-3", "discriminator=null"
    )
    state = started(recipe)
    rates = []
    for step in range(20):
        state.vae.schedule.step_update(step)
        rates.append(state.vae.lr)
    assert rates[:4] == pytest.approx([2.5e-4, 4.375e-4, 6.25e-4, 8.125e-4])
    assert max(rates) <= 1e-3
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 1e-4 <= rates[-1] < 1.2e-4


def test_the_average_follows_the_weights_and_takes_no_gradient(tmp_path):
    recipe = tiny_recipe(tmp_path, "steps=5", "ema={decay: 0.5, gamma: 1, power: 1}")
    state = started(recipe)
    name, expected = "decoder.1.layers.0.conv1.weight", None
    stepper, batches = Stepper(state, recipe, CPU), iter(loader_of(recipe))
    for step in range(1, 6):
        stepper.step([next(batches)])
        decay = 0.0 if step == 1 else min(1 - 1 / step, 0.5)  # timm counts from the update after the first
        now = dict(state.task.vae.named_parameters())[name].detach().clone()
        expected = now if expected is None else expected * decay + now * (1 - decay)
    torch.testing.assert_close(state.ema.module.state_dict()[name], expected)
    assert not any(p.requires_grad for p in state.ema.module.parameters())


def test_noise_depends_on_the_crop_and_not_on_its_place_in_the_batch():
    both = draw_noise((2, 4, 4), [7, 8], seed=1)
    assert torch.equal(both[1], draw_noise((2, 4, 4), [8], seed=1)[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[1], draw_noise((2, 4, 4), [8], seed=2)[0])


def test_sizes_that_do_not_fit_the_network_are_refused_before_the_first_step(tmp_path):
    with pytest.raises(InputError, match=r"data.sizes 9: tiny takes multiples of 2 pixels"):
        started(tiny_recipe(tmp_path, "data.sizes=[9]"))
    with pytest.raises(InputError, match=r"validation.size 33: tiny takes multiples of 2 pixels"):
        started(tiny_recipe(tmp_path, "validation.size=33"))


def test_an_optimiser_that_cannot_take_its_settings_says_so(tmp_path):
    with pytest.raises(SpecError, match="optimizer sgd has no betas"):
        started(tiny_recipe(tmp_path, "optimizer.name=sgd"))
    with pytest.raises(SpecError, match="optimizer adamw takes 2 betas, not 1"):
        started(tiny_recipe(tmp_path, "optimizer.betas=[0.9]"))
