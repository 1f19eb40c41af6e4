"""Find out on photos whether a model can run in fp16 or bf16, and which rows of it should stay in fp32.

It shows the largest magnitude of each row in fp32, and how much the reconstructions differ.
"""

from dataclasses import asdict

from vaezoo.console import MAX_SIZE, add_json, check_model, local_path, parser, print_columns, print_json, progress, say
from vaezoo.data.photos import photos
from vaezoo.errors import InputError
from vaezoo.evaluation.probe import HEADROOM, LOWEST_PSNR, PrecisionError, Probe, probe
from vaezoo.zoo.create import create, usable_device


def main(arguments: list[str]) -> None:
    arguments_parser = parser("probe", __doc__)
    arguments_parser.add_argument("name", help="a model with weights")
    arguments_parser.add_argument("--dtype", choices=["fp16", "bf16"], default="fp16", help="(default: fp16)")
    arguments_parser.add_argument(
        "--data", type=local_path, help="a folder of photos, a .tar of them or a timm dataset (default: sample photos)"
    )
    arguments_parser.add_argument("--size", type=int, default=256, help="image side in pixels (default: 256)")
    arguments_parser.add_argument("--count", type=int, default=16, help="number of photos (default: the first 16)")
    arguments_parser.add_argument("--device", default="cpu", help="device to run on (default: cpu)")
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)
    if not 1 <= options.size <= MAX_SIZE:
        raise InputError(f"--size {options.size}: expected 1 to {MAX_SIZE:,} pixels")
    if options.count < 1:
        raise InputError(f"--count {options.count}: expected at least 1 photo")

    check_model(options.name)
    usable_device(options.device)
    found = photos(options.data)[: options.count]
    vae = create(options.name, pretrained=True, device=options.device)
    result = probe(vae, found, options.size, options.dtype, lambda items: progress(items, "probe"))
    if options.json:
        print_json({"model": options.name, "size": options.size, "safe": result.safe, **asdict(result)})
    else:
        _print(result)


def _print(result: Probe) -> None:
    rows = [
        (row.row, row.block, f"{row.largest:,.4g}", f"{row.largest / result.limit:.2%}", row.layer)
        for row in result.rows
    ]
    print_columns([("row", "block", "largest", f"of {result.limit:,.5g}", "in"), *rows], right=(2, 3))
    say(f"{result.dtype}: {_error(result.error)}, the worst of {result.images} photos")
    if result.kept is not None:
        say(f"rows with less than a factor of {HEADROOM} to the limit in fp32: {_error(result.kept)}")
        if result.kept.small:
            say(f"not safe; use vaezoo.optimize(vae, dtype={result.dtype!r}, keep_fp32={result.kept.keep_fp32!r})")
            return
    if result.safe:
        say(f"safe: every row has a factor of {HEADROOM} or more to the limit, and PSNR is at least {LOWEST_PSNR:g} dB")
    else:
        say(f"not safe; use {'bf16 or ' if result.dtype == 'fp16' else ''}fp32")


def _error(error: PrecisionError) -> str:
    if error.psnr is None or error.largest_difference is None:
        return "NaN or infinite values"
    levels = error.largest_difference * 127.5
    return f"PSNR {error.psnr:.1f} dB to fp32, largest difference {levels:.1f} of 255 levels"
