"""The example of docs/latents.md; `test_every_python_snippet_runs` runs it for a few steps."""

import re

import pytest
import torch
from support.checkout import ROOT

import vaezoo


@pytest.mark.slow
def test_the_example_of_the_page_learns_the_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "latents.md").read_text(encoding="utf-8")
    code = text.partition("## Train a diffusion model")[2].split("```python\n")[1].split("```")[0]
    code, changed = re.subn(r"EPOCHS = 5 ", "EPOCHS = 500 ", code)
    assert changed == 1
    names = {}
    exec(compile(code, "docs/latents.md", "exec"), names)
    plain, mirrored = (vaezoo.LatentDataset("latents", sample=False, flip=flip) for flip in (False, True))
    known = [sample["latents"] for sample in plain]
    for epoch in range(8):
        mirrored.set_epoch(epoch)
        known += [sample["latents"] for sample in mirrored]

    def distance(z):
        """Mean square difference from the nearest photo."""
        return (z[:, None] - torch.stack(known)).square().mean(dim=(2, 3, 4)).amin(dim=1).mean()

    assert distance(names["z"]) < 0.6 * distance(torch.randn_like(names["z"]))
    assert vaezoo.load_image("samples.png").shape == (1, 3, 64, 4 * 64 + 3 * 4)
