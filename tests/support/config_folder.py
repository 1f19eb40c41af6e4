"""A user's config folder with one network and its weights records."""

from pathlib import Path

import vaezoo
from vaezoo.specs import catalog


def write_network(folder: Path) -> Path:
    """Write the network `mine_f8_z4`, spelled with a "-", into a new config folder."""
    (folder / "models").mkdir(parents=True)
    (folder / "weights").mkdir()
    (folder / "models" / "mine-f8_z4.yaml").write_bytes(catalog.model_file("vae_f8_z4_micro").read_bytes())
    return folder


def add_records(folder: Path, text: str) -> Path:
    """Write the weights records of `mine_f8_z4` into such a folder and register the folder."""
    path = folder / "weights" / "mine_f8_z4.yaml"
    path.write_text(text, encoding="utf-8")
    vaezoo.add_config_dir(folder)
    return path
