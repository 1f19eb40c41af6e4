"""Encodes some shards of a folder, in a process of its own: `python -m vaezoo.latents.shard_job FOLDER SHARD…`."""

import argparse
import sys
from pathlib import Path

import torch

from vaezoo.distributed import local_device
from vaezoo.errors import InputError, VaezooError
from vaezoo.inference.process_memory import keep_freed_memory
from vaezoo.io.escape import terminal_text
from vaezoo.latents.encode_plan import read_photos, shards_of
from vaezoo.latents.encode_settings import EncodeSettings, check_model, read_plan
from vaezoo.latents.shard_encoder import ShardEncoder, WorkOptions
from vaezoo.latents.shard_files import PLAN
from vaezoo.zoo.create import create, usable_device

FAILED = 2


def main(arguments: list[str]) -> int:
    """Encode those of the shards that are not done; prints one message and returns `FAILED` after an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--device", help="default: a GPU if there is one, otherwise the CPU")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--bad", default="skip")
    parser.add_argument("--no-lock", dest="lock", action="store_false")
    options = parser.parse_args(arguments)
    try:
        _encode(options)
    except VaezooError as error:
        print(terminal_text(str(error)), file=sys.stderr, flush=True)
        return FAILED
    return 0


def _encode(options: argparse.Namespace) -> None:
    plan = read_plan(options.folder)
    if plan is None:
        raise InputError(f"{options.folder / PLAN}: missing; start vaezoo encode again")
    device = usable_device(local_device(options.device))
    vae = create(plan["model"]["name"], pretrained=True, device=device)
    check_model(options.folder, plan["model"], vae)
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    keep_freed_memory()
    shards = shards_of(read_photos(options.folder))
    work = WorkOptions(options.batch, options.workers, options.bad, options.lock)
    encoder = ShardEncoder(options.folder, EncodeSettings.from_dict(plan), vae, plan["model"]["pack"], work)
    encoder.encode({name: shards[name] for name in options.shards if name in shards})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
