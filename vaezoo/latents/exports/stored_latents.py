"""The latents of a shard as other trainers store them: one draw of each posterior, or its mode."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torch import Tensor

from vaezoo.data.seeds import generator
from vaezoo.errors import InputError
from vaezoo.latents.latent_folder import LatentFolder
from vaezoo.latents.shard_files import POSTERIORS, ManifestLine, open_shard, stored_name


@dataclass(frozen=True)
class ExportSettings:
    """What is written in place of the posteriors.

    Args:
        sample: Whether to draw from them, once; otherwise the mode.
        seed: Seed of the draws.
    """

    sample: bool = True
    seed: int = 0

    @property
    def text(self) -> str:
        """What is stored, for messages."""
        return f"one posterior sample (seed {self.seed})" if self.sample else "the posterior mode"


class StoredLatents(NamedTuple):
    """The photos of a shard and their raw latents (N, C, h, w) in float32; mirrored ones if the folder has them."""

    lines: list[ManifestLine]
    latents: Tensor
    mirrored: Tensor | None


def read_stored(folder: LatentFolder, name: str, settings: ExportSettings) -> StoredLatents:
    """Read the latents of a shard.

    Raises:
        FileError: If the shard is damaged or has changed since the folder was opened.
    """
    tensors, lines = open_shard(folder.path, name), list(folder.rows(name))
    stored = stored_name(tensors.keys())
    found = []
    for key in (stored, f"{stored}_flip"):
        if key in tensors.keys():  # noqa: SIM118
            posterior = POSTERIORS[stored](tensors.get_tensor(key).float())
            draw = generator(settings.seed, "export", name, key)
            found.append(posterior.sample(draw) if settings.sample else posterior.mode())
    return StoredLatents(lines, found[0], found[1] if len(found) > 1 else None)


def path_of_key(out: Path, key: str) -> Path:
    """Return where a photo's file belongs in a folder, at the place of the photo in its source.

    Raises:
        InputError: If the key leads out of the folder.
    """
    if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
        raise InputError(f"{key}: the name of this photo leads out of {out}; rename it in the source and encode again")
    return out / key
