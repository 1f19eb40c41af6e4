"""Arguments read from the source of a tool: the same as those of its parser, without importing it."""

import json
import os
import subprocess
import sys

import pytest
from support.checkout import ROOT

from vaezoo import console
from vaezoo.cli import main, tools
from vaezoo.light_parser import CONFIGS, _use_of_line, light_parser
from vaezoo.nn.dtypes import DTYPES


def arguments_of(parser) -> set[tuple]:
    return {(*action.option_strings, action.dest, action.nargs, action.required) for action in parser._actions}


@pytest.mark.parametrize("command", sorted(tools()))
def test_the_arguments_of_a_tool_are_read_from_its_source(command, monkeypatch):
    made = []
    monkeypatch.setattr(console._Parser, "print_help", lambda parser, file=None: made.append(parser))
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert arguments_of(light_parser(command, tools()[command])) == arguments_of(made[0])


def test_the_names_of_dtypes_are_those_of_networks():
    assert tuple(DTYPES) == console.DTYPE_NAMES


def test_wrong_names_and_arguments_are_found_without_pytorch():
    lines = ["evaluate --data x nosuch", "sample --nooption", "train", "diff vae_f8_z4 vae_f8_z5", "nosuch"]
    lines += ["encode nosuch --data x --out y", "latents --model nosuch", "sample --dtype bf17"]
    lines += ["train nosuch --out x", "ablate nosuch --out x", "ablate nosuch --set a=1 --out x"]
    lines += ["latents nosuch.png", "interpolate nosuch", "interpolate tests nosuch.png"]
    lines += ["adopt nosuch a.b --license mit", "reconstruct vae_f8_z4 tests nosuch.png", "pick nosuch --gmacs 1"]
    lines += ["evaluate vae_f8_z4 --data nosuch", "encode vae_f8_z4 --data nosuch --out x", "probe --data nosuch"]
    lines += ["ablate quickstart --data nosuch --out x", "encode --check nosuch", "encode --peek nosuch"]
    lines += ["encode --export lightningdit --from nosuch --out x", "convert nosuch x", "convert nosuch.safetensors x"]
    lines += ["convert nosuch.ckpt x --from-pickle"]
    code = (
        "import os, sys; from vaezoo.cli import main\n"
        f"assert [main(line.split()) for line in {lines}] == [2] * 27\n"
        "assert 'torch' not in sys.modules and os.environ['HF_HUB_DISABLE_PROGRESS_BARS'] == '1'"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_DISABLE_PROGRESS_BARS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(lines)
    assert "vaezoo sample: unrecognized arguments: --nooption; `vaezoo sample --help` describes" in done.stderr


def test_errors_are_json_where_json_is_asked_for(capsys):
    assert main(["describe", "nosuch", "--json"]) == 2
    printed = capsys.readouterr()
    error = json.loads(printed.out)["error"]
    assert (error["type"], error["command"]) == ("UnknownNameError", "describe")
    assert printed.err == f"vaezoo describe: {error['message']}\n"


def test_recipes_ablations_and_options_of_a_folder_of_latents_are_completed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layout.yaml").touch()
    for command, prefix, names in (("train", "quick", ["quickstart"]), ("ablate", "lay", ["layers", "layout.yaml"])):
        action = next(a for a in light_parser(command, tools()[command])._actions if a.dest in CONFIGS)
        assert action.completer(prefix) == names
    for line, check in (("--che", True), ("--check x --j", True), ("--data x --o", False), ("", False)):
        monkeypatch.setenv("COMP_LINE", f"vaezoo encode {line}")
        assert ("--check" in _use_of_line("encode", tools()["encode"])._option_string_actions) is check


@pytest.mark.parametrize(
    ("line", "completed"),
    [("rec", "reconstruct"), ("reconstruct --ba", "--bad"), ("describe taesana", "taesana_f32_z32")],
)
def test_a_shell_completes_commands_options_and_names(line, completed, tmp_path):
    pytest.importorskip("argcomplete")
    answer, line = tmp_path / "answer", f"vaezoo {line}"
    environment = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    environment |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    code = "import sys; from vaezoo.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, cwd=ROOT, check=True)
    assert [word.strip() for word in answer.read_text().splitlines()] == [completed]
