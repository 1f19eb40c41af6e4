"""Nets by name, and rows of results in files."""

import csv
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from support.checkout import ROOT
from support.offset_model import Offset, mean_and_spread, noise_photos

from vaezoo.errors import CheckpointError, FileError, HubError, InputError, UnknownNameError
from vaezoo.evaluation.nets import registry as nets_module
from vaezoo.evaluation.nets.registry import Inception, Pooled, open_nets
from vaezoo.evaluation.protocol import evaluate
from vaezoo.evaluation.results import COLUMNS, add_row, check_results, hardware, row_of
from vaezoo.evaluation.tally import Nets


@pytest.fixture(scope="module")
def row():
    nets = Nets({}, {"inception": mean_and_spread, "some_vit": lambda x: 2 * mean_and_spread(x)})
    result = evaluate(Offset(0.25), noise_photos(11), 16, nets=nets)
    return row_of(result, {"model": "m", "sha256": "0" * 64, "nets": "inception some_vit"})


def test_a_row_says_its_conditions_and_leaves_open_what_was_not_measured(row):
    assert tuple(row) == COLUMNS
    assert (row["protocol"], row["latents"], row["rounding"]) == ("reconstruction-2", "mode", "8 bits, half up")
    assert (row["images"], row["size"]) == (11, 16)
    assert row["lpips_vgg"] is row["ms_ssim"] is row["hardware"] is None
    assert row["frechet_vit"] == pytest.approx(4 * row["rfid"])
    assert row["knn_consistency"] is not None


def test_rows_are_added_and_read_back(row, tmp_path):
    path = tmp_path / "results.csv"
    assert check_results(path) == []
    add_row(path, row)
    add_row(path, {**row, "model": "n"})
    first, second = check_results(path)
    assert (first["model"], second["model"]) == ("m", "n")
    assert first["rounding"] == "8 bits, half up"
    assert float(first["psnr"]) == pytest.approx(row["psnr"], abs=5e-4)
    assert [float(v) for v in first["latent_mean"].split()] == pytest.approx(list(row["latent_mean"]), abs=5e-5)
    assert first["lpips_vgg"] == ""


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\x00", b"", ",".join(COLUMNS).encode() + b"\n1,2\n"])
def test_a_file_of_other_columns_is_not_damaged(row, tmp_path, content):
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match="name another file"):
        add_row(path, row)
    assert path.read_bytes() == content
    with pytest.raises(FileError, match="no folder"):
        check_results(tmp_path / "nowhere" / "results.csv")


def test_hardware_has_a_name():
    assert hardware(torch.device("cpu"))


def test_a_net_that_is_not_to_be_had_is_named_with_its_reason_and_the_rest_opens(monkeypatch):
    def offline(name):
        raise HubError("offline", f"the pretrained weights of {name} cannot be had")

    monkeypatch.setattr(nets_module, "LPIPS", offline)
    monkeypatch.setattr(nets_module, "Pooled", lambda name: Pooled(name, pretrained=False))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    nets, missing = open_nets(["lpips_vgg", "inception", "test_vit.r160_in1k"], "cpu")
    assert "weights of vgg cannot be had" in missing["lpips_vgg"]
    assert "pip install 'vaezoo[eval]'" in missing["inception"]
    assert list(nets.features) == ["test_vit.r160_in1k"]
    assert not nets.distances


def test_unknown_nets_and_several_of_timm_are_refused():
    with pytest.raises(UnknownNameError, match="unknown model 'nosuch_vit' of timm"):
        open_nets(["nosuch_vit"], "cpu")
    with pytest.raises(InputError, match="at most one model of timm"):
        open_nets(["test_vit", "test_vit2"], "cpu")


def test_nets_without_some_keep_the_others():
    nets = Nets({"a": min, "b": max}, {"c": sum}).without(["a", "c"])
    assert (list(nets.distances), list(nets.features)) == (["b"], [])


def test_pooled_features_are_those_of_timm_at_its_own_size_and_scale():
    import timm
    from timm.data import resolve_model_data_config

    torch.manual_seed(0)
    net = Pooled("test_vit.r160_in1k", pretrained=False)
    torch.manual_seed(0)
    theirs = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0).eval()
    config = resolve_model_data_config(theirs)
    assert net.size == (160, 160)
    images = torch.rand(2, 3, 160, 160) * 2 - 1
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(net(images), theirs(((images + 1) / 2 - mean) / std))
        assert net(images[..., :40, :40]).shape == (2, theirs.num_features)


class Stub:
    """In place of torch-fidelity's module: the mean of each channel, in 8-bit levels."""

    URL_INCEPTION_V3 = "file:///nowhere/weights-6726825d.pth"

    class FeatureExtractorInceptionV3(torch.nn.Module):
        def __init__(self, name, features, path):
            super().__init__()
            assert features == ["2048"]
            self.weight = torch.nn.Parameter(torch.load(path, weights_only=True)["scale"])

        def forward(self, x):
            assert x.dtype == torch.uint8
            return (x.float().mean(dim=(2, 3)) * self.weight,)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(nets_module.importlib, "import_module", lambda name: Stub)


def test_inception_sees_8_bit_levels_rounded_half_up(stub, tmp_path):
    torch.save({"scale": torch.ones(1)}, tmp_path / "weights.pth")
    net = Inception(tmp_path / "weights.pth")
    images = torch.tensor([-1.0, 1.0, 3.0, 0.0]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert net(images)[:, 0].tolist() == [0, 255, 255, 128]


def test_inception_weights_that_hold_code_are_refused_and_missing_ones_said_to_be(stub, tmp_path, monkeypatch):
    torch.save({"scale": print}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="restricted reader"):
        Inception(tmp_path / "bad.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(HubError, match="inception cannot be downloaded"):
        Inception()


def test_every_column_is_described_in_the_docs():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    described = text[text.index("## What the columns mean") :]
    assert [column for column in COLUMNS if f"`{column}`" not in described] == []


def test_columns_are_unique_and_the_published_results_have_them():
    assert len(set(COLUMNS)) == len(COLUMNS)
    with (ROOT / "docs" / "results" / "reconstruction.csv").open(newline="", encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


def add_rows(path, name):
    for i in range(20):
        add_row(path, dict.fromkeys(COLUMNS, f"{name} {i}"))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children use a single thread
def test_rows_of_several_processes_are_all_there(tmp_path):
    path = tmp_path / "results.csv"
    many = [get_context("fork").Process(target=add_rows, args=(path, name)) for name in "abc"]
    for process in many:
        process.start()
    for process in many:
        process.join()
    assert [process.exitcode for process in many] == [0, 0, 0]
    assert len({found["model"] for found in check_results(path)}) == 60


@pytest.mark.parametrize("name", ["a\x0bb", "a\u2028b", 'a,"b"\nc'])
def test_a_name_with_odd_characters_is_read_back(row, tmp_path, name):
    path = tmp_path / "results.csv"
    for _ in range(2):
        add_row(path, {**row, "model": name})
    assert [found["model"] for found in check_results(path)] == [name, name]


def test_what_is_no_file_is_not_read():
    with pytest.raises(FileError, match="/dev/zero: cannot be read"):
        check_results(Path("/dev/zero"))
