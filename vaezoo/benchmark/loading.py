"""The step `load`: what it loads, and the questions to the processes that do it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence

import torch

from vaezoo.adapters.diffusers_export import diffusers_config
from vaezoo.benchmark.case import BenchmarkCase
from vaezoo.benchmark.peers import DIFFUSERS
from vaezoo.nn.dtypes import DTYPES
from vaezoo.sharing.save import write_folder
from vaezoo.specs.stats import LatentStats
from vaezoo.zoo.create import create


@contextlib.contextmanager
def loading_questions(cases: Sequence[BenchmarkCase]) -> Iterator[list[str]]:
    """Write a model to a temporary folder, as vaezoo and diffusers save it, for the duration of a block.

    Args:
        cases: Cases of one network, whose step is `load`.

    Yields:
        The question to `vaezoo.benchmark.load_child` of each case.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        vae = create(cases[0].spec, device="cpu")
        vae.latent_stats = LatentStats(scale=1.0)  # a diffusers config must have some
        exported = any(case.implementation == DIFFUSERS for case in cases)
        write_folder(vae, folder, "", diffusers_config(vae) if exported else None)
        del vae
        yield [
            json.dumps(
                {
                    "implementation": case.implementation,
                    "folder": folder,
                    "dtype": str(DTYPES[case.dtype]).removeprefix("torch."),
                }
            )
            for case in cases
        ]
