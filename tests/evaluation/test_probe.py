"""`probe`: magnitudes of rows, and which of them low precision needs in float32."""

import json

import pytest
import torch
from support.commands import run
from support.loud import loud_model

import vaezoo
from vaezoo.cli import main
from vaezoo.data.photos import photos
from vaezoo.evaluation.probe import probe


@pytest.fixture(scope="module")
def micro():
    return vaezoo.create("vae_f8_z4_micro", pretrained=True)


@pytest.fixture(scope="module")
def loud():
    return loud_model()


def test_magnitudes_are_those_of_the_maps(micro):
    photo = photos(None)[0]
    result = probe(micro, [photo], size=32)
    assert [row.row for row in result.rows] == [f"encoder[{i}]" for i in range(7)] + [f"decoder[{i}]" for i in range(7)]
    images = vaezoo.to_tensor(photo.read().resize((32, 32)))
    with torch.inference_mode():
        first = micro.encoder[0](images).abs().max().item()
    assert result.rows[0].largest == pytest.approx(first, rel=0.2)  # another filter resizes
    assert result.rows[0].block == "conv"
    assert any("." in row.layer for row in result.rows)  # layers inside of a row count, too
    assert (result.safe, result.kept, result.limit) == (True, None, 65504)
    assert result.error.psnr > 50
    assert not any(module._forward_hooks for module in micro.modules())


def test_rows_that_overflow_are_to_be_kept_in_float32(loud):
    result = probe(loud, photos(None)[:1], size=32)
    assert not result.safe
    assert not result.error.finite
    assert result.kept.keep_fp32 == ("decoder[0]", "decoder[1]")
    assert result.kept.psnr > 50
    assert probe(loud, photos(None)[:1], size=32, dtype="bf16").kept is None  # it has the range of float32


def test_the_model_must_be_the_one_in_float32(micro):
    for other in (vaezoo.optimize(micro, "fp32"), vaezoo.create("vae_f8_z4_micro", dtype=torch.float16)):
        with pytest.raises(vaezoo.InputError, match="pass the model in float32"):
            probe(other, photos(None)[:1])
    with pytest.raises(vaezoo.InputError, match="no photos"):
        probe(micro, [])


def test_the_command_prints_a_table_or_json_and_a_choice_that_optimize_takes(loud, tmp_path, capsys):
    folder = vaezoo.save(loud, tmp_path / "loud")
    text = run(capsys, "probe", f"local-dir:{folder}", "--size", 32, "--count", 1)
    assert "keep_fp32=('decoder[0]', 'decoder[1]')" in text
    assert "fp16: NaN or infinite values" in text
    data = json.loads(run(capsys, "probe", f"local-dir:{folder}", "--size", 32, "--count", 1, "--json"))
    fast = vaezoo.optimize(loud, data["dtype"], keep_fp32=data["kept"]["keep_fp32"])
    with torch.inference_mode():
        assert fast(torch.zeros(1, 3, 64, 64)).reconstruction.isfinite().all()
    assert (data["safe"], data["error"]["psnr"]) == (False, None)


@pytest.mark.parametrize("arguments", [["--size", "0"], ["--count", "0"], ["--size", "60"]])
def test_bad_sizes_and_counts_are_one_message(arguments, capsys):
    assert main(["probe", "vae_f8_z4_micro", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
