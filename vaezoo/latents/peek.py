"""`peek`: a contact sheet of what a folder of latents decodes to."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vaezoo.errors import InputError
from vaezoo.io.captions import captioned
from vaezoo.io.sheets import tile
from vaezoo.latents.latent_dataset import LatentDataset
from vaezoo.latents.planner import Track

COLUMNS, SIDE = 4, 256  # pictures of a row, and pixels of their longer side


def peek(
    folder: str | Path,
    count: int = 12,
    device: torch.device | str | None = None,
    track: Track = lambda items, label: items,
) -> Tensor:
    """Decode some latents of a folder, evenly spread over it, with the model that encoded them.

    A folder that is not finished yet is shown as far as it is.

    Args:
        folder: Folder that `vaezoo encode` wrote.
        count: Most pictures of the sheet.
        device: Device to decode on; `None` means PyTorch's default device.
        track: Function that iterates over items, for example to show progress; takes a label.

    Returns:
        The sheet, of shape (3, H, W) with values in [-1, 1]: posterior modes, each with the key of its photo, its size,
        and its label and caption if it has them.

    Raises:
        InputError: If `count` is less than 1.
        FileError: If this is no folder of latents, or none is finished.
        UnknownNameError: If there is no model of that name on this machine.
        CheckpointError: If it has other weights than those that encoded the folder.
    """
    if count < 1:
        raise InputError(f"count {count}: expected 1 or more")
    dataset = LatentDataset(folder, sample=False, normalize=False, partial=True)
    vae = dataset.create_vae(device)
    indices = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().int().tolist()
    shown = []
    for index in track(indices, "decode"):
        sample = dataset[index]
        with torch.inference_mode():
            images = vae.decode(sample["latents"][None].to(vae.device)).clamp(-1, 1).float().cpu()
        size = f"{images.shape[3]}x{images.shape[2]}"
        text = [sample["key"], size, *(str(sample[key]) for key in ("label", "caption") if key in sample)]
        shown.append(captioned(_fitted(images), ", ".join(text)))
    return tile([shown[start : start + COLUMNS] for start in range(0, len(shown), COLUMNS)])


def _fitted(images: Tensor) -> Tensor:
    scale = SIDE / max(images.shape[2:])
    if scale == 1:
        return images
    mode = "area" if scale < 1 else "nearest"
    return F.interpolate(images, [max(1, round(side * scale)) for side in images.shape[2:]], mode=mode)
