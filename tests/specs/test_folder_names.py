"""Folders as model names."""

from pathlib import Path

import pytest

from vaezoo.errors import UnknownNameError
from vaezoo.specs.catalog import model_file
from vaezoo.specs.names import ModelName, parse_name


def test_a_folder_is_a_name_where_it_cannot_be_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a", "pipe/vae", "my-vae"):
        Path(folder).mkdir(parents=True)
    Path("pipe/vae/config.json").touch()
    for text in ("./my-vae", "../a", "/srv/vae", Path("my-vae")):
        assert parse_name(text) == ModelName("local-dir", str(text))
    assert parse_name("./pipe#vae") == ModelName("local-dir", "./pipe", subfolder="vae")
    with pytest.raises(UnknownNameError, match=r"for the folder of this name write local-dir:runs/a$"):
        parse_name("runs/a")
    for text, name in {"pipe": "pipe#vae", "my-vae": "my-vae"}.items():
        with pytest.raises(UnknownNameError, match=f"for the folder of this name write local-dir:{name}$"):
            model_file(parse_name(text).id)
