"""Overflow in low precision: one error that names the row, rows kept in float32, and a second run in a safer dtype."""

import pytest
import torch
from support.loud import LOUD, loud_model
from support.representatives import first_of

import vaezoo
from vaezoo.inference.optimize import optimize


@pytest.fixture(scope="module")
def loud():
    return loud_model()


@pytest.fixture(scope="module")
def z(loud):
    torch.manual_seed(0)
    with torch.inference_mode():
        return loud.encode(torch.rand(2, 3, 64, 48) * 2 - 1).mode()


def error(result, expected):
    return (result - expected).abs().max().item()


@pytest.mark.parametrize("options", [{}, {"tile": 16}])
def test_a_result_that_is_not_finite_names_the_first_such_row(loud, z, options):
    fast = optimize(loud, "fp16", **options)
    text = r"vae_f8_z4_micro: decoder\[0\] \(conv\) computes NaN or infinite values in torch.float16 for \(1, 4, 8, 6\)"
    with torch.inference_mode(), pytest.raises(vaezoo.InputError, match=text + ".*keep_fp32 that vaezoo probe finds"):
        fast.decode(z)


@pytest.mark.parametrize("options", first_of([{"tile": 16}, {}, {"fuse": False, "tile": "auto"}]))
def test_rows_kept_in_float32_do_not_overflow(loud, z, options):
    fast = optimize(loud, "fp16", keep_fp32=LOUD, **options)
    assert (fast.decoder[1].weight.dtype, fast.decoder[2].layers[0].conv1.weight.dtype) == (
        torch.float32,
        torch.float16,
    )
    with torch.inference_mode():
        assert error(fast.decode(z), loud.decode(z)) < 0.01
    z = z.clone()
    assert error(fast.decode(z).detach(), loud.decode(z).detach()) < 0.01  # with gradients, as they are


def test_a_model_of_several_dtypes_is_not_saved(loud, tmp_path):
    fast = optimize(optimize(loud, "fp16"), "fp16", keep_fp32=LOUD)
    with pytest.raises(vaezoo.InputError, match="has cast these weights"):
        vaezoo.save(fast, tmp_path / "mixed")


def test_a_safer_dtype_is_tried_on_request_and_said_once(loud, z, caplog):
    fast = optimize(loud, "fp16", retry="fp32")
    with torch.inference_mode():
        for _ in range(2):
            assert error(fast.decode(z), loud.decode(z)) < 1e-5
    assert len(caplog.messages) == 1
    assert "decoder[0] (conv)" in caplog.text
    assert "such images are run in torch.float32 instead" in caplog.text


def test_an_input_that_is_not_finite_is_named_itself(loud, z):
    fast = optimize(loud, "bf16")
    with torch.inference_mode(), pytest.raises(vaezoo.InputError, match="the input of the decoder, of shape"):
        fast.decode(z / 0)
    with torch.inference_mode():
        assert not optimize(loud, "fp32").decode(z / 0).isfinite().all()  # float32 is not checked


@pytest.mark.parametrize("name", ["decoder[9]", "decoder", "middle[0]"])
def test_rows_to_keep_must_exist(loud, name):
    with pytest.raises(vaezoo.InputError, match=r"keep_fp32: unknown row .*decoder\[[0-9]\]"):
        optimize(loud, "fp16", keep_fp32=[name])
