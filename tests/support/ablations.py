"""Small ablations: a question about the tiny network, its plans, and made-up results."""

from pathlib import Path
from typing import Any

import pytest
import torch

from support.training import write_recipe
from vaezoo.ablation import measured_costs as measurements
from vaezoo.ablation.plan import AblationPlan, make_plan
from vaezoo.ablation.question import check_question
from vaezoo.ablation.run_results import write_result
from vaezoo.benchmark.benchmark_row import COLUMNS
from vaezoo.evaluation.results import hardware
from vaezoo.io.files import make_folder
from vaezoo.io.images import save_picture
from vaezoo.io.sheets import tile
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.parse import parse_yaml
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
    """Write the question, a recipe, a network and photos; keyword arguments replace keys of the question."""
    recipe = write_recipe(folder)
    text = QUESTION.replace("NETWORK", str(folder / "tiny.yaml")).replace("RECIPE", str(recipe))
    lines = [line for line in text.splitlines() if line.partition(":")[0] not in changes]
    lines += [f"{key}: {value}" for key, value in changes.items() if value]
    path = folder / "question.yaml"
    path.write_text("\n".join(lines).replace("PHOTOS", str(folder / "photos")) + "\n", encoding="utf-8")
    return path


def plan_of(folder: Path, **changes: str) -> AblationPlan:
    """Return the plan of the question, in `folder/out`."""
    path = write_question(folder, **changes)
    tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    return make_plan(check_question(tree), make_folder(folder / "out"))


def pretend_measuring(plan: AblationPlan, seconds: dict[str, float]) -> None:
    """Record missing measurements with these seconds per step by variant label; other variants fail."""
    labels = {variant.name: variant.label for variant in plan.variants}

    def measured(spec: ModelSpec, what: str, size: int, *_: Any) -> dict[str, Any]:
        took = seconds.get(labels[spec.label])
        row = dict.fromkeys(COLUMNS) | {"what": what, "size": size, "hardware": hardware(torch.device("cpu"))}
        if took is None:
            return row | {"error": "killed by SIGKILL"}
        times = {"seconds": took, "seconds_q1": took / 2, "seconds_q3": took * 2, "images_per_second": 1 / took}
        return row | times | {"peak_rss_growth_mib": 7.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurements, "measure", measured)
        measurements.measure_all(plan, measurements.unmeasured(plan), lambda text: None)


def pretend(plan: AblationPlan, psnr: dict[str, list[float]], **more: Any) -> None:
    """Write results of finished runs with these PSNR values, one per seed, by variant label."""
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
