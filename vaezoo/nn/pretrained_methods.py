"""`save_pretrained`, `from_pretrained` and `push_to_hub` as methods, which users of other libraries expect."""

import importlib
import os
import re
from pathlib import Path
from typing import Any

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


class PretrainedMethods:
    """Methods of a model that call `vaezoo.save`, `vaezoo.create` and `vaezoo.push_to_hub`.

    They find these through the package, which loads its names on first use, because modules know nothing of files.
    """

    def save_pretrained(self, folder: str | Path, **arguments: Any) -> Any:
        """Save the model as a folder: `vaezoo.save(self, folder, …)`, with its arguments and errors.

        Args:
            folder: Folder to save to.
            **arguments: Arguments of `vaezoo.save`, such as `license="mit"`.

        Returns:
            The folder.
        """
        return importlib.import_module("vaezoo").save(self, folder, **arguments)

    @classmethod
    def from_pretrained(cls, name: str | Path, *, subfolder: str | None = None, **arguments: Any) -> Any:
        """Load a model with its weights: `vaezoo.create(name, pretrained=True, …)`, with its arguments and errors.

        Args:
            name: A name as for `vaezoo.create`. A folder that exists and a repository on the Hub, `organization/name`,
                need no prefix here.
            subfolder: Folder in that folder or repository.
            **arguments: Arguments of `vaezoo.create`, such as `dtype="bf16"`.

        Returns:
            The model in eval mode.

        Examples:
            >>> import vaezoo
            >>> vae = vaezoo.VAE.from_pretrained("vae_f8_z4_micro")
            >>> folder = vae.save_pretrained("my_vae", license="mit")
            >>> vaezoo.VAE.from_pretrained("my_vae").spec == vae.spec
            True
        """
        text, below = str(name), f"#{subfolder}" if subfolder else ""
        if os.path.isdir(os.path.expanduser(text)):
            text = f"local-dir:{text}"
        elif isinstance(name, str) and _REPOSITORY.fullmatch(text) and text[0] not in ".~":
            text = f"hf-hub:{text}"
        return importlib.import_module("vaezoo").create(f"{text}{below}", pretrained=True, **arguments)

    def push_to_hub(self, repo: str, *, license: str, **arguments: Any) -> Any:
        """Publish the model on the Hub: `vaezoo.push_to_hub(self, repo, …)`, with its arguments and errors.

        Args:
            repo: Repository, `organization/name`.
            license: License id of the Hub, such as "mit".
            **arguments: Further arguments of `vaezoo.push_to_hub`.

        Returns:
            The files, and the address and id of the commit.
        """
        return importlib.import_module("vaezoo").push_to_hub(self, repo, license=license, **arguments)
