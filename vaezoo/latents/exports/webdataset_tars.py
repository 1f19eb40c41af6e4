"""Export as WebDataset: a .tar file for each shard, with a few files for each photo."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaezoo.io.files import replacing, write_json
from vaezoo.io.temporary import becoming_folder
from vaezoo.latents.exports.stored_latents import ExportSettings
from vaezoo.latents.latent_folder import LatentFolder
from vaezoo.latents.sample_index import index_samples
from vaezoo.latents.shard_files import DATASET, open_shard


def export_webdataset(folder: LatentFolder, out: Path, settings: ExportSettings) -> str:
    """Write .tar files that the package `webdataset` reads, with posteriors as they are stored.

    A photo has the files NUMBER.moments.npy (2C, h, w) or NUMBER.mean.npy (C, h, w), likewise `moments_flip` or
    `mean_flip`, NUMBER.json with what the manifest says about it, and NUMBER.cls and NUMBER.txt for label and caption.
    NUMBER counts all photos: names of photos may have dots, at which WebDataset would cut them.

    Args:
        folder: Folder of latents.
        out: Folder to write; it must be new or empty.
        settings: Not used, since posteriors are written and the reader draws from them.

    Returns:
        What was written, as a sentence.

    Raises:
        FileError: If a file cannot be read or written, or `out` is not empty.
    """
    index, number = index_samples(folder), 0
    with becoming_folder(out) as temporary:
        for name, header in folder.headers.items():
            tensors, lines = open_shard(folder.path, name), list(folder.rows(name))
            found = {key: tensors.get_tensor(key) for key in tensors.keys() if key != "index"}  # noqa: SIM118
            with replacing(temporary / f"{name}.tar") as path, tarfile.open(path, "w") as tar:
                for row in range(header.count):
                    files = {f"{key}.npy": _npy(tensor[row]) for key, tensor in found.items()}
                    files["json"] = json.dumps(lines[row].to_dict(), ensure_ascii=False).encode()
                    if index.labels is not None:
                        files["cls"] = str(index.labels[number]).encode()
                    if lines[row].caption is not None:
                        files["txt"] = str(lines[row].caption).encode()
                    for kind, content in files.items():
                        member = tarfile.TarInfo(f"{number:09d}.{kind}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
                    number += 1
        kept: dict[str, Any] = {key: value for key, value in folder.about.items() if key != "shards"}
        stats = folder.stats.to_dict() if folder.stats else None
        write_json(temporary / DATASET, {**kept, "latent_stats": stats, "classes": list(index.classes)})
    return f"{number:,} posteriors in {len(folder.headers):,} .tar files, raw"


def _npy(tensor: torch.Tensor) -> bytes:
    """The bytes of a .npy file; NumPy has no bfloat16, so that becomes float32, which loses nothing."""
    buffer = io.BytesIO()
    np.save(buffer, (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    return buffer.getvalue()
