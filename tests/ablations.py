"""Small ablations: a question about the tiny network, plans of it, and results made up for it."""

from pathlib import Path
from typing import Any

from training import write_recipe

from vaezoo.ablation.plan import Plan, make_plan
from vaezoo.ablation.question import check_question
from vaezoo.ablation.results import write_result
from vaezoo.files import make_folder
from vaezoo.images import save_picture
from vaezoo.sheets import tile
from vaezoo.specs.tree import parse_yaml
from vaezoo.training.log import Log

QUESTION = """\
question: Do <more> channels help the tiny network?
base: NETWORK
grid: {latent.channels: [2, 3, 4]}
recipe: {name: RECIPE, set: {data.sizes: [16], discriminator: null, data.root: PHOTOS}}
steps: 2
seeds: [0, 1]
evaluation: {root: PHOTOS, size: 32, nets: []}
sizes: [32, 64]
"""


def write_question(folder: Path, **changes: str) -> Path:
    """The question as a file, with a recipe, a network and photos beside it; keys may be other ones."""
    recipe = write_recipe(folder)
    text = QUESTION.replace("NETWORK", str(folder / "tiny.yaml")).replace("RECIPE", str(recipe))
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in changes]
    lines += [f"{key}: {value}" for key, value in changes.items() if value]
    path = folder / "question.yaml"
    path.write_text("\n".join(lines).replace("PHOTOS", str(folder / "photos")) + "\n", encoding="utf-8")
    return path


def plan_of(folder: Path, **changes: str) -> Plan:
    """Its plan, in `folder/out`."""
    path = write_question(folder, **changes)
    tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    return make_plan(check_question(tree), make_folder(folder / "out"))


def pretend(plan: Plan, psnr: dict[str, list[float]], **more: Any) -> None:
    """Write results as if runs had ended so: label of a variant -> PSNR of each seed."""
    import torch

    for run in plan.runs:
        values = psnr.get(run.variant.label, [])
        index = plan.ablation.seeds.index(run.seed)
        if index >= len(values):
            continue
        folder = make_folder(plan.folder_of(run) / "train").parent
        log = Log(folder / "train", 0)
        for step in (1, 2):
            log.add(step=step, loss=1.0 / step)
            log.add(step=step, psnr=values[index] - 2 + step)
        for name in ("input", "output"):
            save_picture(tile([[torch.rand(3, 24, 24) * 2 - 1]]), folder / f"{name}_0.png")
        figures = {"psnr": values[index], "ssim": values[index] / 50, "images": 5, "protocol": "reconstruction-2"}
        write_result(folder, {"steps": 2, "hardware": "a test", **figures, **more})
