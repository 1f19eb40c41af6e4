"""The commands, as a person types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.checkout import ROOT
from support.commands import run

import vaezoo
from vaezoo.cli import main, tools
from vaezoo.io.captions import caption, reconstruction_caption
from vaezoo.specs import catalog


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def micro(here):
    """A saved micro network with latent statistics."""
    vae = vaezoo.create("vae_f8_z4_micro")
    vae.latent_stats = vaezoo.LatentStats(mean=(0.0,) * 4, std=(1.0,) * 4)
    vaezoo.save(vae, "micro")
    return "local-dir:micro"


@pytest.fixture
def photos(here):
    sizes = {"a.jpg": (50, 37), "b.png": (64, 64), "c.webp": (31, 90)}
    for name, size in sizes.items():
        Image.effect_noise(size, 60).convert("RGB").save(name)
    return list(sizes)


def test_help_lists_every_tool_with_its_first_line(capsys):
    text = run(capsys, "--help")
    assert all(f"  {name}" in text for name in tools())
    assert "reconstruct  Reconstruct images" in " ".join(text.split("  ")).replace("reconstruct ", "reconstruct  ")


@pytest.mark.parametrize("name", sorted(tools()))
def test_every_tool_has_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: vaezoo {name}" in capsys.readouterr().out


def test_list_shows_networks_and_tags(capsys):
    lines = run(capsys, "list", "vae-f8-z4*").splitlines()
    assert lines[0].split() == ["network", "f", "z", "params", "weights"]
    assert lines[1].split() == ["vae_f8_z4", "8", "4", "21.97", "M", "photos_v1"]
    assert [r["name"] for r in json.loads(run(capsys, "list", "vae_*", "--pretrained", "--json"))] == [
        "vae_f8_z4",
        "vae_f8_z4_micro",
        "vae_f8_z4_quarter",
    ]


def test_describe_prints_rows_totals_and_weights(capsys):
    text = run(capsys, "describe", "vae_f8_z4")
    assert "encoder.4" in text
    assert "21,970,983" in text
    assert "147.49" in text  # GMACs: half of 295.0 GFLOP
    assert "vae_f8_z4.photos_v1" in text


def test_describe_takes_changes_and_sizes_and_speaks_json(capsys):
    data = json.loads(
        run(capsys, "describe", "vae_f8_z4_micro", "--set", "latent.channels=16", "--size", "64x32", "--json")
    )
    assert data["latent_channels"] == 16
    assert data["rows"][-1]["shape"] == [3, 64, 32]
    assert data["encoder"]["params"] == sum(r["params"] for r in data["rows"] if r["half"] == "encoder")


def test_describe_yaml_is_a_network_file(capsys, here):
    Path("mine.yaml").write_text(run(capsys, "describe", "vae_f8_z4", "--yaml"))
    assert vaezoo.get_spec("mine.yaml").hash == vaezoo.get_spec("vae_f8_z4").hash


def test_reconstruct_writes_one_sheet_and_prints_figures(capsys, micro, photos):
    text = run(capsys, "reconstruct", micro, *photos, "-o", "out.png")
    assert [line.split()[0] for line in text.splitlines()[1:4]] == photos
    assert "mean PSNR" in text
    with Image.open("out.png") as picture:  # three columns of the widest, rows as high as each image, gaps of 4
        assert picture.size[0] == 3 * 64 + 2 * 4
        assert picture.size[1] >= 37 + 64 + 90 + 2 * 4 + 3 * 20  # and captions


@pytest.mark.slow
def test_reconstruct_in_strips_draws_the_same_and_gives_the_same_figures(capsys, micro, photos):
    whole = json.loads(run(capsys, "reconstruct", micro, *photos[:2], "-o", "whole.png", "--json"))
    strips = json.loads(run(capsys, "reconstruct", micro, *photos[:2], "-o", "strips.png", "--json", "--tile", 16))
    for a, b in zip(whole["images"], strips["images"], strict=True):
        assert (a["image"], a["height"], a["width"]) == (b["image"], b["height"], b["width"])
        assert a["psnr"] == pytest.approx(b["psnr"], abs=1e-3)
    last = -64 - caption(reconstruction_caption(whole["images"][1]["psnr"]), 64).shape[1]
    drawn, expected = (vaezoo.load_image(path)[:, :, last:][:, :, :64] for path in ("strips.png", "whole.png"))
    torch.testing.assert_close(drawn, expected, atol=2.02 / 127.5, rtol=0)  # rounding of the difference x4


def test_reconstruct_into_a_folder_writes_one_picture_each(capsys, micro, photos):
    data = json.loads(run(capsys, "reconstruct", micro, *photos, "-o", "out", "--json"))
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{name}_reconstruction.png" for name in "abc"]
    assert [(r["height"], r["width"]) for r in data["images"]] == [(37, 50), (64, 64), (90, 31)]
    assert all(r["peak_mib"] > 1 and r["seconds"] > 0 for r in data["images"])


def test_reconstruct_goes_on_past_damaged_photos_of_a_folder_and_counts_them(capsys, micro, photos, here):
    for name, target in (("a.jpg", "in/a.jpg"), ("b.png", "in/deep/a.png"), ("c.webp", "in/c.webp")):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(name).rename(target)
    Path("in/bad.jpg").write_bytes(Path("in/a.jpg").read_bytes()[:300])
    command = ["reconstruct", micro, "in", "-o", "out"]
    assert main([*command, "--bad", "refuse"]) == 2
    assert "bad.jpg" in capsys.readouterr().err
    assert Path("out/a_reconstruction.png").is_file()  # made before the damaged one was read
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert data["written"] == [f"out/{name}_reconstruction.png" for name in ("a", "c", "deep/a")]
    assert [bad["image"] for bad in data["bad"]] == ["in/bad.jpg"]
    assert "1 of 4 photos cannot be read and was left out" in printed.err
    text = run(capsys, *command)
    assert "out/deep/a_reconstruction.png: 64x64, " in text
    assert "written: 3 pictures in out" in text
    assert main(["reconstruct", micro, "in", "-o", "in/out"]) == 2
    assert "whose photos are the input" in capsys.readouterr().err
    assert main(["reconstruct", micro, "in/bad.jpg"]) == 2
    assert "the photo cannot be read: in/bad.jpg: " in capsys.readouterr().err


def test_a_sheet_holds_few_photos_and_says_what_to_do_with_many(capsys, micro, photos):
    assert main(["reconstruct", micro, *photos * 22]) == 2
    assert "66 photos for one sheet, which holds 64; give a folder: -o FOLDER" in capsys.readouterr().err


def test_reconstruct_never_writes_over_its_images_or_its_results(capsys, micro, photos):
    before = Path("b.png").read_bytes()
    assert main(["reconstruct", micro, "b.png", "-o", "b.png"]) == 2
    assert "is one of the images" in capsys.readouterr().err
    Path("deeper").mkdir()
    Path("deeper/b.png").write_bytes(before)
    data = json.loads(run(capsys, "reconstruct", micro, "b.png", "deeper/b.png", "-o", ".", "--json"))
    assert data["written"] == ["b_reconstruction.png", "b_reconstruction1.png"]
    assert Path("b.png").read_bytes() == before


def test_reconstruct_without_arguments_takes_our_model_and_the_bundled_photos(capsys, here, monkeypatch):
    with Image.open(catalog.sample_photos()[0]) as photo:
        photo.crop((64, 64, 128, 112)).save("part.png")
    monkeypatch.setattr(catalog, "sample_photos", lambda: [Path("part.png")])
    data = json.loads(run(capsys, "reconstruct", "--json"))
    assert data["model"] == "vae_f8_z4"
    assert data["images"][0]["psnr"] == pytest.approx(24.77, abs=0.05)
    with Image.open("reconstruction.png") as picture:
        assert picture.size == (3 * 64 + 2 * 4, 48 + caption(reconstruction_caption(24.77), 64).shape[1])


@pytest.mark.slow
def test_reconstruct_without_arguments_shows_the_bundled_photos(capsys, here):
    text = run(capsys, "reconstruct")
    assert "kitten_on_lawn.png" in text
    assert float(text.split("mean PSNR ")[1].split()[0]) == pytest.approx(23.94, abs=0.05)
    assert Path("reconstruction.png").stat().st_size > 100_000


def test_sample_without_latent_statistics_says_so(capsys, here):
    vaezoo.save(vaezoo.create("vae_f8_z4_micro"), "bare")
    assert main(["sample", "local-dir:bare"]) == 2
    assert "latent statistics" in capsys.readouterr().err


def test_convert_there_and_back_gives_the_same_tensors(capsys, micro):
    run(capsys, "convert", "micro/model.safetensors", "foreign.safetensors", "--to", "documented")
    run(capsys, "convert", "foreign.safetensors", "native.safetensors", "--to", "native")
    assert Path("native.safetensors").read_bytes() == Path("micro/model.safetensors").read_bytes()


def test_download_of_bundled_weights_tells_their_path(capsys):
    (row,) = json.loads(run(capsys, "download", "vae_f8_z4", "--json"))
    assert Path(row["path"]).is_file()
    assert row["sha256"].startswith("681cabb6")


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m vaezoo.cli list --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_tools_use_the_package_and_not_each_other():
    for path in tools().values():
        text = path.read_text(encoding="utf-8")
        assert "import tools" not in text
        assert "sys.path" not in text
