"""Recipes named after their source hold the weights that the conversion gives."""

import pytest
from support.conversion import error_weight, kl_weight, ratio_limit

from vaezoo.training.recipes import read_recipe

ELEMENTS = 3 * 256 * 256
GANS = ["ldm", "eqvae", "vavae"]  # of LDM's loss: a sum over the image


def weights(recipe):
    return {part.kind: part.weight for part in recipe.losses}


@pytest.mark.parametrize("name", GANS)
def test_recipes_of_ldm_s_loss_keep_its_weights_and_scale_its_limit(name):
    recipe = read_recipe(name)
    kl = kl_weight(1e-6, error="sum", kl="sum", elements=ELEMENTS, latents=1)
    assert weights(recipe) == {"l1": 1, "lpips": 1, "kl": kl}
    game = recipe.discriminator.adversary
    assert (game["weight"], game["adaptive"]) == (0.5, True)
    assert game["limit"] == pytest.approx(ratio_limit(1e4, error="sum", elements=ELEMENTS), rel=1e-3)


def test_fault_start_of_vavae_counted_in_steps_of_both_optimisers_is_halved():
    assert [read_recipe(name).discriminator.adversary["start"] for name in GANS] == [50001, 0, -(-5001 // 2)]


def test_vavae_s_alignment_has_a_limit_for_a_mean():
    (part,) = read_recipe("vavae").regularizers
    assert part.arguments["limit"] == pytest.approx(ratio_limit(1e8, error="sum", elements=ELEMENTS), rel=1e-3)
    assert part.weight == 0.1


def test_eqvae_s_changed_latents_weigh_as_much_as_the_plain_ones():
    (part,) = read_recipe("eqvae").regularizers
    assert part.weight * part.arguments["share"] == 1


def test_titok_s_error_is_of_images_from_zero_to_one_and_its_kl_beside_a_mean():
    found = weights(read_recipe("titok"))
    assert found["mse"] == error_weight(1, power=2, span=1)
    assert found["kl"] == pytest.approx(kl_weight(1e-6, error="mean", kl="sum", elements=ELEMENTS, latents=1), rel=0.01)
    assert found["lpips"] == 1


def test_ft_mse_trains_the_decoder_alone():
    recipe = read_recipe("sd_ft_mse")
    assert recipe.train == "decoder"
    assert weights(recipe) == {"mse": 1, "lpips": 0.1}
