"""Discriminators, the game they play, and how much it counts, against closed forms."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vaezoo
from vaezoo.training.objective.adversary import GAMES, Adversary, balance, last_weight
from vaezoo.training.objective.discriminator import DISCRIMINATORS, PatchGAN
from vaezoo.training.objective.task import Task
from vaezoo.training.recipe_schema import LossTerm
from vaezoo.training.recipes import read_recipe


class Mean(nn.Module):
    """One logit an image: its mean, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.weight * images.mean(dim=(1, 2, 3)).view(-1, 1)


def flat(*values):
    return torch.stack([torch.full((3, 8, 8), float(value)) for value in values])


def small(name):
    extra = {"patchgan": {"width": 8, "groups": 4, "layers": 2}, "features": {"model": "test_vit", "layers": (0, -1)}}
    return DISCRIMINATORS[name](**extra[name], **({"pretrained": False, "size": 64} if name == "features" else {}))


def test_hinge_is_the_distance_to_the_margins():
    judge, fool = GAMES["hinge"]
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert judge(real, fake).item() == pytest.approx(((0 + 0.5) / 2 + (0 + 1) / 2) / 2)
    assert fool(fake).item() == pytest.approx(1.5)


def test_fault_swapped_arguments_of_the_non_saturating_loss_are_not_here():
    judge, fool = GAMES["non_saturating"]
    real, fake = torch.randn(7), torch.randn(7)
    entropy = F.binary_cross_entropy_with_logits
    expected = (entropy(real, torch.ones(7)) + entropy(fake, torch.zeros(7))) / 2
    assert judge(real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    assert fool(fake).item() == pytest.approx(entropy(fake, torch.ones(7)).item(), rel=1e-5)
    assert judge(torch.tensor(9.0), torch.tensor(-9.0)) < 1e-3 < judge(torch.tensor(-9.0), torch.tensor(9.0))


@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_few_steps_of_the_discriminator_tell_bright_from_dark(game):
    adversary = Adversary(small("patchgan"), game=game, weight=1.0)
    optimiser = torch.optim.Adam(adversary.parameters(), lr=1e-3)
    real, fake = 0.5 + 0.1 * torch.randn(4, 3, 32, 32), -0.5 + 0.1 * torch.randn(4, 3, 32, 32)
    for _ in range(30):
        optimiser.zero_grad()
        parts = adversary(real, fake)
        parts["loss"].backward()
        optimiser.step()
    assert parts["accuracy"] == 1
    assert parts["logits_real"] > parts["logits_fake"]


def test_accuracy_is_the_share_of_logits_with_the_right_sign():
    parts = Adversary(Mean(), weight=1.0)(flat(1, 1, 1, -1), flat(-1, -1, 1, 1))
    assert parts["accuracy"].item() == pytest.approx((3 / 4 + 2 / 4) / 2)


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_fault_a_discriminator_step_that_pushes_the_vae_is_not_here(name):
    decoder, adversary = nn.Conv2d(3, 3, 1), Adversary(small(name), weight=1.0)
    images = torch.randn(2, 3, 64, 64)
    adversary(images, decoder(images))["loss"].backward()
    assert decoder.weight.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in adversary.parameters() if p.ndim > 1)


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_the_step_of_the_vae_leaves_the_discriminator_alone(name):
    decoder, adversary = nn.Conv2d(3, 3, 1), Adversary(small(name), weight=1.0)
    adversary.fool(decoder(torch.randn(2, 3, 64, 64))).backward()
    assert decoder.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in adversary.parameters())
    assert all(p.requires_grad for p in adversary.parameters())


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_fault_batch_norm_that_fails_at_batch_one_is_not_here(name):
    discriminator = small(name).train()
    images = torch.randn(3, 3, 64, 64)
    alone = torch.cat([discriminator(image[None]) for image in images])
    assert torch.allclose(discriminator(images), alone, atol=1e-5)


def test_a_logit_of_three_layers_sees_a_patch_of_70_pixels():
    images = torch.randn(1, 3, 256, 256, requires_grad=True)
    discriminator = PatchGAN(width=8, groups=16)
    for layer in discriminator.layers:  # norms look at everything
        if isinstance(layer, nn.GroupNorm):
            layer.forward = lambda x: x
    logits = discriminator(images)
    assert logits.shape == (1, 30 * 30)
    logits[0, 15 * 30 + 15].backward()
    seen = images.grad[0].abs().sum(dim=0).nonzero()
    assert (seen.max(dim=0).values - seen.min(dim=0).values + 1).tolist() == [70, 70]


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups 32 does not divide 20"):
        PatchGAN(width=10)


def test_fault_start_counted_in_steps_of_all_optimisers_is_not_here():
    """After 100 updates of the VAE, and as many of the discriminator, the game has not begun if it starts at 101."""
    adversary = Adversary(Mean(), weight=1.0, start=101, lecam=1.0)
    for _ in range(100):
        adversary(flat(1), flat(-1))
    assert not adversary.plays(100)
    assert adversary.plays(101)


def test_lecam_is_the_squared_distance_to_the_other_side_s_average():
    adversary = Adversary(Mean(), weight=1.0, lecam=0.1, decay=0.5)
    parts = adversary(flat(3), flat(-1))  # averages are now 3 and -1
    assert parts["lecam"].item() == pytest.approx((3 + 1) ** 2 + (3 + 1) ** 2)
    assert parts["loss"].item() == pytest.approx(0.1 * 32)
    parts = adversary(flat(1), flat(0))  # now 2 and -0.5
    assert parts["lecam"].item() == pytest.approx(1.5**2 + 2**2)


def test_the_averages_of_lecam_are_saved():
    before = Adversary(Mean(), weight=1.0, lecam=0.1)
    for step in range(3):
        before(flat(step), flat(-step))
    after = Adversary(Mean(), weight=1.0, lecam=0.1)
    after.load_state_dict(before.state_dict())
    assert after(flat(1), flat(0))["lecam"] == before(flat(1), flat(0))["lecam"]
    assert before.mean_real.item() == pytest.approx((0 + 1 + 2 + 1) / 4)


def test_a_frozen_network_is_not_saved_with_its_discriminator():
    keys = Adversary(small("features"), weight=1.0).state_dict()
    assert {key.split(".")[1] for key in keys if key.startswith("discriminator")} == {"heads"}


def test_the_adaptive_weight_is_the_ratio_of_gradients():
    weight = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    loss, other = (weight * torch.tensor([3.0, 4.0])).sum(), (weight * torch.tensor([0.0, 0.5])).sum()
    assert balance(loss, other, weight, 1e4).item() == pytest.approx(5 / (0.5 + 1e-4))
    assert balance(loss, other, weight, 2.0).item() == 2
    assert balance(loss, 0 * other, weight, 7.0).item() == 7
    assert not balance(loss, other, weight, 1e4).requires_grad
    assert weight.grad is None


def test_fault_an_adaptive_weight_under_autocast_is_refused():
    weight = nn.Parameter(torch.ones(1))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(vaezoo.InputError, match="outside"):
        balance(weight.sum(), weight.sum(), weight, 1.0)


def test_an_adaptive_weight_at_a_layer_that_is_not_trained_is_refused():
    weight = nn.Parameter(torch.ones(1), requires_grad=False)
    with pytest.raises(vaezoo.InputError, match="not trained"):
        balance(weight.sum(), weight.sum(), weight, 1.0)


def test_the_last_weight_of_a_decoder_is_that_of_its_last_convolution():
    vae = vaezoo.create("vae_f8_z4_micro")
    weight = last_weight(vae.decoder)
    assert weight.shape[0] == 3
    assert math.isfinite(weight.sum().item())


def test_a_regulariser_s_adaptive_weight_is_the_ratio_at_the_encoder_s_last_layer_up_to_the_limit():
    """With the limit reached, the weight is multiplied by it."""
    arguments = {"model": "test_vit", "size": 64, "pretrained": False, "adaptive": True}
    images, noise = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randn(2, 4, 8, 8)
    for limit in (1e-3, 1e4):
        part = LossTerm(kind="alignment", weight=0.5, arguments={**arguments, "limit": limit})
        task = Task(
            vaezoo.create("vae_f8_z4_micro"),
            replace(read_recipe("quickstart"), losses=(LossTerm(kind="l1", weight=1.0),), regularizers=(part,)),
        )
        found = task.vae_losses(images, noise, 0, torch.Generator())
        weight = (found["loss"] - found["l1"]) / found["alignment"]
        if limit == 1e-3:
            assert weight.item() == pytest.approx(0.5 * limit, rel=1e-2)
        else:
            out = task.reconstruct(images, noise)
            last = last_weight(task.vae.encoder)
            error, extra = (out.reconstruction - images).abs().mean(), task.regularizers[0](None, out, images, None)
            sizes = [torch.autograd.grad(x, last, retain_graph=True)[0].norm() for x in (error, extra)]
            assert weight.item() == pytest.approx(0.5 * (sizes[0] / sizes[1]).item(), rel=1e-2)


def _ratio(rank, store, found):
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    weight = nn.Parameter(torch.ones(2))
    loss, other = (weight * torch.tensor([2.0 * rank, 0.0])).sum(), (weight * torch.tensor([0.0, 4.0 * rank])).sum()
    adversary = Adversary(Mean(), weight=1.0, lecam=0.1)
    adversary(flat(rank), flat(rank - 1))
    found[rank] = [balance(loss, other, weight, 1e4).item(), adversary.mean_real.item(), adversary.mean_fake.item()]
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_every_rank_has_the_same_adaptive_weight_and_the_same_averages(tmp_path):
    with torch.multiprocessing.get_context("spawn").Manager() as manager:
        found = manager.dict()
        torch.multiprocessing.spawn(_ratio, (tmp_path / "store", found), nprocs=2)
        assert found[0] == found[1]
        assert found[0] == pytest.approx([1 / (2 + 1e-4), 0.5, -0.5])
