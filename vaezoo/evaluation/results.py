"""Results as rows of a CSV file, each with the conditions that make it comparable."""

import csv
import io
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from vaezoo.errors import FileError
from vaezoo.evaluation.figures import Figure
from vaezoo.evaluation.nets.registry import INCEPTION
from vaezoo.evaluation.protocol import Evaluation
from vaezoo.io.escape import csv_cell
from vaezoo.io.files import opened, replacing
from vaezoo.io.folder_lock import write_lock
from vaezoo.io.temporary import sweep
from vaezoo.nn.vae import VAE

COLUMNS = (
    *("model", "sha256", "spec_hash", "protocol", "crop", "latents", "clamp", "rounding", "nets", "dtype"),
    *("data", "images", "size"),
    *("psnr", "psnr_std", "ssim", "ms_ssim", "luma_error", "chroma_error", "lpips_vgg", "lpips_alex"),
    *("rfid", "frechet_vit", "flat_error", "flat_texture"),
    *("latent_mean", "latent_std", "latent_skew", "latent_kurtosis", "latent_absmax", "latent_correlation"),
    *("kl", "active_units", "posterior_std", "posterior_share", "spectrum_slope", "high_share"),
    *("turn_error", "turn_psnr", "scale_error", "scale_psnr", "knn_consistency"),
    *("vaezoo", "torch", "timm", "hardware"),
)
PER_IMAGE = (
    *("psnr", "ssim", "ms_ssim", "luma_error", "chroma_error", "lpips_vgg", "lpips_alex"),
    *("turn_error", "turn_psnr", "scale_error", "scale_psnr"),
)
DIGITS = {"psnr": 3, "psnr_std": 3, "posterior_std": 5, "posterior_share": 5}  # decimals of a column; others have 4


def row_of(evaluation: Evaluation, about: Mapping[str, str]) -> dict[str, Figure | str]:
    """Return the row of an evaluation: a value for each of `COLUMNS`, `None` for a figure that was not measured.

    Args:
        evaluation: The evaluation.
        about: The cells that it does not contain: model, hashes, nets, dtype, data, versions and hardware.
    """
    protocol, frechet, knn = evaluation.protocol, evaluation.frechet, evaluation.knn
    other_net = next((name for name in frechet if name != INCEPTION), INCEPTION)
    known: dict[str, Figure | str] = {
        **evaluation.figures,
        **{name: evaluation.mean(name) for name in PER_IMAGE},
        "psnr_std": evaluation.spread("psnr"),
        "rfid": frechet.get(INCEPTION),
        "frechet_vit": frechet.get(other_net) if other_net != INCEPTION else None,
        "knn_consistency": knn.get(other_net),
        "images": len(evaluation.names),
        "size": evaluation.size,
        "protocol": protocol.name,
        "crop": protocol.crop,
        "clamp": protocol.clamp,
        "rounding": protocol.rounding,
        "latents": "sample" if evaluation.sample else "mode",
        **about,
    }
    return {column: known.get(column) for column in COLUMNS}


def model_cells(vae: VAE) -> dict[str, str]:
    """The cells of a row that say which model was measured: its name, with the commit if it is on the Hub, and hashes.

    Ask for them before measuring: the SHA-256 of a local file may have to be computed from the file.
    """
    name, sha256 = (vae.source.exact_name, vae.source.sha256) if vae.source else (vae.spec.label, None)
    return {"model": name, "sha256": sha256 or "", "spec_hash": vae.spec.hash[:12]}


def check_results(
    path: Path, columns: tuple[str, ...] = COLUMNS, command: str = "evaluate", first: tuple[str, ...] | None = None
) -> list[dict[str, str]]:
    """Read the rows of a results file, and check that a row can be added to it; call it before the work.

    Args:
        path: The file; it may be missing, but its folder must exist.
        columns: Columns that it must have.
        command: The command that writes these columns, for the message.
        first: Columns that files of earlier versions have, the first of `columns`; `None` means that there are none.

    Returns:
        The rows, with every cell as text; none if the file is missing. Columns that an earlier version did not have are
        empty.

    Raises:
        FileError: If the columns differ, the file cannot be read, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written (there is no folder {path.parent}); create it or name another file")
    if not path.exists():
        return []
    if not path.is_file():
        raise FileError(f"{path}: cannot be read (not a regular file); name another file")
    with opened(path) as file:
        try:
            reader = csv.DictReader(io.StringIO(file.read().decode("utf-8"), newline=""))
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise FileError(f"{path}: not a CSV file in UTF-8 ({error}); name another file") from error
    known = tuple(reader.fieldnames or ()) in (columns, first)
    if not known or any(None in row or None in row.values() for row in rows):
        raise FileError(f"{path}: its columns are not those of vaezoo {command}; name another file")
    return [dict.fromkeys(columns, "") | row for row in rows]


def add_row(
    path: Path,
    row: Mapping[str, Any],
    columns: tuple[str, ...] = COLUMNS,
    command: str = "evaluate",
    first: tuple[str, ...] | None = None,
) -> None:
    """Add a row to a results file; several processes of one machine may do so at the same time.

    Args:
        path: The file; it is created if it is missing.
        row: A value for each column; `None` leaves the cell empty.
        columns: Columns of the file.
        command: The command that writes these columns, for the message.
        first: As for `check_results`; such a file gets the missing columns.

    Raises:
        FileError: As `check_results`, or if the file cannot be written; its previous content is kept.
    """
    new = {column: csv_cell(format_cell(row[column], f".{DIGITS.get(column, 4)}f")) for column in columns}
    path = Path(os.path.realpath(path))  # links in several folders may name one file
    with write_lock(path.parent):
        sweep(path.parent)
        rows = [*check_results(path, columns, command, first), new]
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def hardware(device: torch.device) -> str:
    """Return the model name of a device: of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else f"{device.type} {platform.machine()}"


def _processor() -> str:
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or platform.machine()


def format_cell(value: Any, float_format: str) -> str:
    """Format a value as the cell of a table: "" for `None`, and the items of a sequence separated by spaces.

    Args:
        value: A number, text, `None`, or a list or tuple of them.
        float_format: Format specification for floats, such as ".4f".
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(format_cell(each, float_format) for each in value)
    return format(value, float_format) if isinstance(value, float) else str(value)
