"""Wrong input of commands: one message, status 2, and nothing half-written."""

from pathlib import Path

import pytest

from vaezoo.cli import main
from vaezoo.specs import catalog

BAD = {
    "nosuch": "unknown command 'nosuch'",
    "describe vae_f8_z5": "did you mean vae_f8_z4",
    "describe vae_f8_z4 --size 250": "250x250 is not a positive multiple of 8",
    "describe vae_f8_z4 --size big": "--size big",
    "describe vae_f8_z4 --set latent.chanels=3": "did you mean 'channels'",
    "describe vae_f8_z4 --set latent.channels": "expected path=value",
    "describe org/name": "hf-hub:org/name",
    "reconstruct vae_f8_z4.nosuch": "unknown tag 'nosuch'",
    "reconstruct vae_f8_z16": "has no pretrained weights",
    "reconstruct photo.jpg": "the model comes first",
    "reconstruct vae_f8_z4 missing.png": "missing.png: no such file or folder; correct the path",
    "reconstruct vae_f8_z4 setup.cfg": "setup.cfg: not a JPEG, PNG or WebP",
    "reconstruct vae_f8_z4 -o out.gif": "out.gif",
    "reconstruct vae_f8_z4 -o nowhere/out.png": "nowhere/out.png: cannot be written",
    "reconstruct vae_f8_z4 --device cuda:99": "device cuda:99",
    "interpolate --steps 1": "--steps 1",
    "describe vae_f8_z4 --size 80000000000": "--size 80000000000",
    "sample vae_f8_z4 --seed 99999999999999999999": "--seed",
    "sample vae_f8_z4 --size 800000": "--size 800000",
    "sample vae_f8_z4 --count 1000000000": "--count",
    "convert vae_f8_z4 zz.safetensors --network vae_f4_z3": "network= is for file: names",
    "sample vae_f8_z4 --size 12": "12x12 is not a positive multiple of 8",
    "convert missing.safetensors out.safetensors": "missing.safetensors",
    "evaluate vae_f8_z4 --data nowhere": "nowhere",
    "evaluate vae_f8_z4 nosuch --data .": "no model is called 'nosuch'",
    "evaluate vae_f8_z4_micro --data PHOTOS --nets nosuch": "unknown model 'nosuch' of timm",
    "evaluate vae_f8_z4_micro --data PHOTOS --nets lpips_vgx": "did you mean 'lpips_vgg'",
    "evaluate vae_f8_z4_micro --data PHOTOS --size 100": "100x100 is not a positive multiple of 8",
    "evaluate vae_f8_z4_micro --data PHOTOS --device cuda:99": "device cuda:99",
    "sample --count 10000 --size 4096": "megapixels for one sheet; give a folder",
    "reconstruct vae_f8_z4 nowhere": "nowhere: no such file or folder; correct the path",
    "evaluate vae_f8_z4 vae_f8_z4 --data . --sheet worst.png": "--sheet shows --count cases of one model",
    "evaluate vae_f8_z4 --data . --sheet worst.gif": "worst.gif",
    "evaluate vae_f8_z4 --data wds/photos": "wds/photos: streamed",
    "download local-dir:nowhere": "no such folder",
    "publish vae_f8_z4 nonsense/a/b --license mit": "nonsense/a/b",
    "interpolate -o nowhere/way.png": "nowhere/way.png: cannot be written",
    "train nosuch --out run": "unknown recipe 'nosuch'; known: ",
    "ablate quickstrat --out answer": "unknown ablation 'quickstrat'; did you mean 'quickstart'?; the path of",
    "encode vae_f8_z4_micro --data nowhere --out out": "nowhere: no such file or folder",
    "sample -o samples.tiff": "samples.tiff",
}


@pytest.mark.parametrize("line", BAD)
def test_wrong_input_ends_with_status_2_and_one_message(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("setup.cfg").write_text("[metadata]\n")
    photos = str(catalog.sample_photos()[0].parent)
    assert main(line.replace("PHOTOS", photos).split()) == 2
    error = capsys.readouterr().err
    assert BAD[line] in error
    assert error.startswith(f"vaezoo {line.split()[0]}: ")
    assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["setup.cfg"]  # nothing half-written
