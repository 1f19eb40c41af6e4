"""Pick the variant of an ablation with the highest PSNR within a budget of GMACs."""

from dataclasses import asdict

from vaezoo.ablation.run_results import read_table
from vaezoo.ablation.summary import beats, pick
from vaezoo.console import add_json, local_path, parser, print_columns, print_json, say


def main(arguments: list[str]) -> None:
    arguments_parser = parser("pick", __doc__)
    arguments_parser.add_argument("folder", type=local_path, help="the folder of `vaezoo ablate --out`")
    arguments_parser.add_argument(
        "--gmacs", type=float, required=True, help="budget for one image, encoder and decoder together"
    )
    arguments_parser.add_argument(
        "--size", type=int, help="pixels per side of the image (default: the first size of the ablation)"
    )
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    best, *others = picks = pick(read_table(options.folder), options.gmacs, options.size)
    if options.json:
        print_json([asdict(each) for each in picks])
        return
    tied = [each for each in others if not beats(best, each)]
    say(f"{best.name}: {best.mean:.2f} dB ({best.low:.2f} to {best.high:.2f}) for {best.gmacs:.3f} GMACs")
    if tied:
        say(f"not distinguished from it by these seeds: {', '.join(each.name for each in tied)}")
    say()
    rows = [
        [each.name, f"{each.gmacs:.3f}", f"{each.mean:.2f}", f"{each.low:.2f}", f"{each.high:.2f}"] for each in picks
    ]
    print_columns([["within the budget", "GMACs", "PSNR", "worst seed", "best"], *rows], right=(1, 2, 3, 4))
