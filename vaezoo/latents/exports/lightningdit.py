"""Export for LightningDiT's trainer.

Source: hustvl/LightningDiT@2725fed `extract_features.py`, which writes the files, and `datasets/img_latent_dataset.py`,
which reads them: safetensors files with `latents`, `latents_flip` and `labels`, all of one size, raw posterior samples
in float32; `latents_stats.pt` has mean and standard deviation of shape (1, C, 1, 1).
"""

from pathlib import Path

import torch

from vaezoo.errors import InputError
from vaezoo.io.files import replacing, write_json
from vaezoo.io.temporary import becoming_folder
from vaezoo.io.tensor_file import write_tensors
from vaezoo.latents.channel_sums import ChannelSums
from vaezoo.latents.exports.stored_latents import ExportSettings, read_stored
from vaezoo.latents.latent_folder import LatentFolder
from vaezoo.latents.sample_index import UNLABELED, index_samples


def export_lightningdit(folder: LatentFolder, out: Path, settings: ExportSettings) -> str:
    """Write a folder that LightningDiT's `ImgLatentDataset` reads.

    Args:
        folder: Folder of latents of one size, with mirrored ones.
        out: Folder to write; it must be new or empty.
        settings: What to store.

    Returns:
        What was written, as a sentence.

    Raises:
        InputError: If photos have several sizes, there are no mirrored latents, or only some photos have a label.
        FileError: If a file cannot be read or written, or `out` is not empty.
    """
    headers = {name: header for name, header in folder.headers.items() if header.count}
    if len(buckets := {header.bucket for header in headers.values()}) > 1:
        sizes = f"LightningDiT takes photos of one size, these are {', '.join(sorted(buckets))}"
        raise InputError(f"{folder.path}: {sizes}; encode with --resize center")
    labels, classes, about = _labels(folder)
    parts, sums = labels.split([header.count for header in headers.values()]), []
    with becoming_folder(out) as temporary:
        for number, (name, part) in enumerate(zip(headers, parts, strict=True)):
            stored = read_stored(folder, name, settings)
            if stored.mirrored is None:
                raise InputError(f"{folder.path}: LightningDiT reads mirrored latents, too; encode with --flip")
            tensors = {"latents": stored.latents, "latents_flip": stored.mirrored, "labels": part}
            path = temporary / f"latents_rank00_shard{number:03d}.safetensors"
            write_tensors({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
            sums.append(ChannelSums.of(stored.latents))
        _write_stats(ChannelSums.merged(sums), temporary / "latents_stats.pt", folder.path)
        if classes:
            write_json(temporary / "classes.json", list(classes))
    return f"{folder.count:,} latents in {len(headers):,} files, raw, {settings.text}; {about}"


def _labels(folder: LatentFolder) -> tuple[torch.Tensor, tuple[str, ...], str]:
    """A number for each photo, the names of the classes, and words about them."""
    index = index_samples(folder)
    if index.labels is None:
        return torch.zeros(folder.count, dtype=torch.int64), (), "label 0 for all, since photos have none"
    if UNLABELED in index.labels:
        raise InputError(f"{folder.path}: some photos have no label, and LightningDiT needs one of each; add them")
    return torch.from_numpy(index.labels), index.classes, f"{len(set(index.labels.tolist())):,} classes"


def _write_stats(sums: ChannelSums, path: Path, folder: Path) -> None:
    stats = sums.latent_stats
    if stats is None or stats.mean is None or stats.std is None:
        raise InputError(f"{folder}: a channel is constant, and LightningDiT divides by its standard deviation")
    columns = {"mean": torch.tensor(stats.mean).view(1, -1, 1, 1), "std": torch.tensor(stats.std).view(1, -1, 1, 1)}
    with replacing(path) as temporary:
        torch.save(columns, temporary)
