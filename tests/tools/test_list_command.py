"""`vaezoo list`: which networks and weights it shows."""

import json
import subprocess
import sys

from support.checkout import ROOT
from support.config_folder import add_records

from vaezoo.cli import main


def run(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def test_list_filters_by_facts_of_networks_and_of_weights(capsys, folder):
    entry = "{source: {hub: a/b, file: a.ckpt}, layout: documented, license: MIT, verified: false, pickle_only: true}"
    add_records(
        folder, f"default: v1\nv1: {entry}\nv2: {entry.replace('MIT', 'other').replace(', pickle_only: true', '')}"
    )

    def listed(*arguments: str) -> dict[str, tuple]:
        rows = json.loads(run(capsys, "list", "*_f8_z4*", *arguments, "--json"))
        return {
            row["name"]: (row["weights"], row["not_loadable"]) for row in rows if row["name"][:4] in ("vae_", "mine")
        }

    assert listed("--license", "mit") == {"mine_f8_z4": ([], ["v1"])}
    assert listed("--layout", "documented") == {"mine_f8_z4": (["v2"], ["v1"])}
    assert listed("--license", "mit", "--pretrained") == {}
    assert listed("--license", "Apache-2.0", "--min-params", "2M", "--max-params", "21.98M") == {
        "vae_f8_z4": (["photos_v1"], [])
    }
    assert listed("--license", "Apache-2.0", "--min-params", "2M", "--max-params", "21.97M") == {}
    assert set(listed("--latent-channels", "4", "--downscale", "8", "--max-params", "500k")) == {
        "vae_f8_z4_micro",
        "mine_f8_z4",
    }
    assert set(listed("--min-params", "0.08B")) == {"vae_f8_z4_wide"}
    text = run(capsys, "list", "mine*")
    assert text.splitlines()[1].endswith("v2, (v1)")
    assert "published in a format that can run code" in text
    assert main(["list", "--max-params", "many"]) == 2
    assert "'many' is not a count such as 500K, 100M or 1.5B" in capsys.readouterr().err


def test_list_does_not_import_torch():
    code = (
        "import sys; from vaezoo.cli import main; main(['list', '--license', 'mit']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False).returncode == 0
