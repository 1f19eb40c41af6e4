"""Download weights, so that the same ones load later without a network."""

from pathlib import Path
from typing import Any

from vaezoo.console import add_json, check_model, local_path, parser, print_columns, print_json, say
from vaezoo.weights.hub import Hub
from vaezoo.weights.lock import Fetched, add_pin, lock_path
from vaezoo.zoo.find import fetch


def main(arguments: list[str]) -> None:
    arguments_parser = parser("download", __doc__)
    arguments_parser.add_argument("names", nargs="+", help="names of models with weights, or hf-hub:org/name@revision")
    arguments_parser.add_argument(
        "--cache-dir", type=local_path, help="folder for downloads (default: the Hugging Face cache)"
    )
    arguments_parser.add_argument("--force", action="store_true", help="download files again that are in the cache")
    arguments_parser.add_argument(
        "--lock",
        type=local_path,
        help="lock file for commit and sha256 of weights that no record pins (default: VAEZOO_LOCK, or vaezoo.lock)",
    )
    add_json(arguments_parser)
    options = arguments_parser.parse_args(arguments)

    check_model(*options.names)
    lock = options.lock or lock_path()
    hub = Hub(cache_dir=options.cache_dir, force_download=options.force, lock=lock)
    results = [_downloaded(name, hub, lock) for name in options.names]
    if options.json:
        print_json(results)
        return
    rows = [[r["name"], f"{r['bytes']:,}", r["sha256"][:12], r["path"]] for r in results]
    print_columns([["weights", "bytes", "sha256", "path"], *rows], right=(1,))
    for pinned in (r["pinned"] for r in results if r["pinned"]):
        say(f"\npinned in {pinned['lock']}: {pinned['name']} is {pinned['repo']} at commit {pinned['commit']}")
        for locked in pinned["files"]:
            say(f"  {locked['file']}: sha256 {locked['sha256']}")


def _downloaded(name: str, hub: Hub, lock: Path) -> dict[str, Any]:
    weights, source = fetch(name, hub)
    pinned = _pinned(weights.unpinned, lock) if weights.unpinned else None
    content = {"bytes": sum(file.stat().st_size for file in source.files), "sha256": source.sha256}
    return {"name": name, "path": str(weights.path), **content, "pinned": pinned}


def _pinned(fetched: Fetched, lock: Path) -> dict[str, Any]:
    pin = add_pin(lock, fetched)
    files = [{"file": locked.file, "sha256": locked.sha256} for locked in pin.files]
    return {"name": fetched.name, "repo": pin.repo, "commit": pin.commit, "files": files, "lock": str(lock)}
