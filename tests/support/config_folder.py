"""A folder of one's own with a network and records of weights."""

from pathlib import Path

import vaezoo
from vaezoo.specs import catalog


def write_network(folder: Path) -> Path:
    """Write the network `mine_f8_z4`, with "-", into a folder that then has room for its records."""
    (folder / "models").mkdir(parents=True)
    (folder / "weights").mkdir()
    (folder / "models" / "mine-f8_z4.yaml").write_bytes(catalog.model_file("vae_f8_z4_micro").read_bytes())
    return folder


def add_records(folder: Path, text: str) -> Path:
    """Write the records of a network `mine_f8_z4` into a folder of one's own, and add the folder."""
    path = folder / "weights" / "mine_f8_z4.yaml"
    path.write_text(text, encoding="utf-8")
    vaezoo.add_config_dir(folder)
    return path
