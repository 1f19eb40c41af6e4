"""Pickles become safetensors without any of their objects, or are refused; nothing in them is ever run."""

import re

import pytest
import torch
from safetensors.torch import load_file
from support.small import same_weights, small_vae, write_small

import vaezoo
from vaezoo.cli import main
from vaezoo.errors import CheckpointError, FileError
from vaezoo.weights.header import read_header
from vaezoo.weights.load import tensor_names_of
from vaezoo.weights.pickles import from_pickle
from vaezoo.weights.write_checkpoint import tensors_in_layout


def same(a: vaezoo.VAE, b: vaezoo.VAE) -> bool:
    return same_weights(a, b)


@pytest.fixture(scope="module")
def mar() -> vaezoo.VAE:
    return small_vae("mar_f16_z16")


WRAPS = [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3, "global_step": 10},
    lambda state: {"model": state},
    lambda state: {"model": {"module": state}, "optimizer": {"x": [1, 2]}},
]


CASES = [
    (WRAPS[3], False),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [(WRAPS[0], True), (WRAPS[0], False), (WRAPS[1], True), (WRAPS[2], True), (WRAPS[3], True)]
    ),
]


@pytest.mark.parametrize(("wrap", "zipped"), CASES)
def test_a_pickled_checkpoint_is_converted_whatever_is_wrapped_around_it(mar, tmp_path, capsys, wrap, zipped):
    network = write_small("mar_f16_z16", tmp_path)
    state = tensors_in_layout(mar, "ldm")
    junk = {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.zeros(1)}
    torch.save(wrap({**state, **junk}), tmp_path / "kl16.ckpt", _use_new_zipfile_serialization=zipped)
    out = tmp_path / "mar.safetensors"
    assert main(["convert", str(tmp_path / "kl16.ckpt"), str(out), "--from-pickle", "--network", network]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"taken from {tmp_path}/kl16.ckpt: [a-z_. ]+ \({len(state) + 2} tensors\)\n", said)
    assert same(vaezoo.create(f"file:{out}", network=network), mar)


def test_two_pickled_halves_become_one_file(tmp_path, capsys):
    vae = vaezoo.create("taesd_f8_z4")
    tensors = tensors_in_layout(vae, "taesd")
    for half in ("encoder", "decoder"):
        state = {name.removeprefix(f"{half}."): t for name, t in tensors.items() if name.startswith(half)}
        torch.save(state, tmp_path / f"taesd_{half}.pth")
    halves = f"{tmp_path}/taesd_encoder.pth,{tmp_path}/taesd_decoder.pth"
    assert main(["convert", halves, str(tmp_path / "taesd.safetensors"), "--from-pickle", "--to", "diffusers"]) == 0
    assert read_header(tmp_path / "taesd.safetensors").shapes.keys() == {
        name for tensor in tensor_names_of(vae, "diffusers") for name in tensor.names
    }
    assert same(vaezoo.create(f"file:{tmp_path}/taesd.safetensors"), vae)


def test_a_pickle_without_the_flag_is_refused_with_the_command_that_converts_it(tmp_path, capsys):
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.ckpt")
    assert main(["convert", str(tmp_path / "x.ckpt"), str(tmp_path / "y.safetensors")]) == 2
    assert "vaezoo convert IN OUT.safetensors --from-pickle" in capsys.readouterr().err
    assert not (tmp_path / "y.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"not a pickle at all", b"\x80\x04K\x01."])
def test_what_is_no_pickle_of_tensors_is_one_clear_error(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(
        CheckpointError,
        match=r"x\.ckpt: (the file is empty|cannot be read|no tensors by name)",
    ):
        from_pickle(tmp_path / "x.ckpt", tmp_path / "y.safetensors")


def test_a_truncated_pickle_and_a_torchscript_archive_are_clear_errors(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.ckpt")
    content = (tmp_path / "x.ckpt").read_bytes()
    for size in (10, 200, len(content) - 30):
        (tmp_path / "cut.ckpt").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="cannot be read as a file of torch"):
            from_pickle(tmp_path / "cut.ckpt", tmp_path / "y.safetensors")
    with pytest.raises(FileError, match=r"nothing\.ckpt"):
        from_pickle(tmp_path / "nothing.ckpt", tmp_path / "y.safetensors")


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    tensor = torch.arange(6.0)
    torch.save({"a": tensor, "b": tensor[:3], "c": tensor.view(2, 3).T}, tmp_path / "x.pt")
    assert from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors").taken.tensors == 3
    assert read_header(tmp_path / "y.safetensors").shapes == {"a": (6,), "b": (3,), "c": (3, 2)}


@pytest.mark.parametrize("odd", [lambda t: t.to_sparse(), lambda t: t.to("meta")])
def test_a_tensor_that_safetensors_cannot_hold_is_named(tmp_path, odd):
    torch.save({"fine": torch.ones(2), "odd": odd(torch.ones(2, 2))}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt: odd is sparse, quantized, nested or without values"):
        from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors")
    assert not (tmp_path / "y.safetensors").exists()


def test_two_pickles_of_one_name_stay_apart_and_an_error_names_the_user_s_file(tmp_path, capsys):
    tensors = tensors_in_layout(vaezoo.create("taesd_f8_z4"), "taesd")
    for half in ("encoder", "decoder"):
        (tmp_path / half).mkdir()
        state = {name.removeprefix(f"{half}."): t for name, t in tensors.items() if name.startswith(half)}
        torch.save(state, tmp_path / half / "model.pth")
    halves = [f"{tmp_path}/{half}/model.pth" for half in ("encoder", "decoder")]
    assert main(["convert", ",".join(halves), str(tmp_path / "x.safetensors"), "--from-pickle"]) == 0
    assert main(["convert", ",".join(reversed(halves)), str(tmp_path / "y.safetensors"), "--from-pickle"]) == 2
    assert f"convert: {','.join(reversed(halves))}: its names and shapes fit no network" in capsys.readouterr().err


def test_names_inside_of_the_taken_tensors_that_are_left_out_are_said(tmp_path, capsys):
    state, source = vaezoo.create("vae_f8_z4_micro").state_dict(), tmp_path / "x.ckpt"
    both = {f"{prefix}.{name}": tensor for prefix in ("model", "ema") for name, tensor in state.items()}
    torch.save({"state_dict": both}, source)
    assert main(["convert", str(source), str(tmp_path / "y.safetensors"), "--from-pickle"]) == 0
    said = capsys.readouterr().out
    assert f"{source}: the prefix ema. of its names was taken off\n" in said
    assert f"{source}: left out by rule: outside ema.: {len(state)}\n" in said


STATE = {"encoder.w": torch.ones(2), "decoder.w": torch.ones(3)}
AVERAGED = {"encoder.w": torch.full((2,), 2.0), "decoder.w": torch.ones(3)}


@pytest.mark.parametrize(
    ("data", "taken", "left"),
    [
        (STATE, "", []),
        ({"ema": AVERAGED}, "ema", []),
        ({"model_state_dict": STATE}, "model_state_dict", []),
        ({"vae": STATE, "epoch": 3}, "vae", []),
        ({"model": STATE, "ema": AVERAGED}, "ema", ["model"]),
        ({"ema": {"decay": torch.ones(1)}, "model": {f"w{i}": torch.ones(1) for i in range(9)}}, "model", ["ema"]),
        ({"state_dict": STATE, "state_dict_ema": AVERAGED}, "state_dict_ema", ["state_dict"]),
        ({"EMA": {"module": AVERAGED}, "model": {"module": STATE}}, "EMA.module", ["model.module"]),
        ({"vae": STATE, "discriminator": {"w": torch.ones(1)}, "w": torch.ones(1)}, "vae", ["", "discriminator"]),
        ({"my_network": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, "my_network", []),
    ],
)  # fmt: skip
def test_averaged_weights_win_and_what_was_left_is_known(tmp_path, data, taken, left):
    torch.save(data, tmp_path / "x.pt")
    found = from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors")
    assert found.taken.key == taken
    assert sorted(group.key for group in found.left) == left
    if "ema" in taken.lower():
        assert load_file(tmp_path / "y.safetensors")["encoder.w"].tolist() == [2.0, 2.0]


def test_a_key_chooses_among_the_candidates_and_a_wrong_one_lists_them(tmp_path, capsys):
    state = tensors_in_layout(vaezoo.create("vae_f8_z4_micro"), "documented")
    torch.save({"model": state, "ema": {name: tensor + 1 for name, tensor in state.items()}}, tmp_path / "x.pt")
    command = ["convert", f"{tmp_path}/x.pt", f"{tmp_path}/y.safetensors", "--from-pickle", "--to", "documented"]
    for key, added in (([], 1), (["--key", "model"], 0)):
        assert main(command + key) == 0
        name = "encoder_conv_in.bias"
        assert torch.equal(load_file(tmp_path / "y.safetensors")[name], state[name] + added)
    said = capsys.readouterr().out
    assert f"x.pt: ema ({len(state)} tensors)\nleft: model ({len(state)} tensors); choose with --key" in said
    assert main([*command, "--key", "models"]) == 2
    said = capsys.readouterr().err
    assert f"no tensors under 'models'; there are model ({len(state)} tensors), ema ({len(state)} tensors)" in said
    assert main(["convert", f"{tmp_path}/y.safetensors", f"{tmp_path}/z.safetensors", "--key", "model"]) == 2
    assert "add --from-pickle" in capsys.readouterr().err


def test_several_groups_without_a_usual_name_are_listed(tmp_path):
    torch.save({"a": STATE, "b": AVERAGED}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"several groups of tensors: a \(2 tensors\), b \(2 tensors\).*--key"):
        from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors")
    assert from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors", key="b").taken.key == "b"


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.float8_e5m2, torch.uint8, torch.bool])
def test_a_dtype_is_converted_or_named(tmp_path, dtype):
    torch.save({"w": torch.zeros(2, dtype=dtype)}, tmp_path / "x.pt")
    if not dtype.is_complex:
        from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors")
        assert load_file(tmp_path / "y.safetensors")["w"].dtype == dtype
        return
    with pytest.raises(CheckpointError, match=r"x\.pt: w is torch\.complex"):
        from_pickle(tmp_path / "x.pt", tmp_path / "y.safetensors")
