"""Names of files and texts of others reach no terminal, page or JSON with their control characters."""

import json
import re

import pytest
from PIL import Image
from support.checkout import ROOT
from support.hub_server import refusal
from support.tiny_pipeline import LDM, small

from vaezoo.cli import main
from vaezoo.sharing.card import card_text
from vaezoo.specs.source import WeightsSource
from vaezoo.training.display import Display

ESC = "a\x1b[31m\x9b2J\u202eb"
SHOWN = r"a\x1b[31m\x9b2J\u202eb"


def outputs(capsys, *arguments: object, status: int = 0) -> str:
    """Run a command, and return what it printed on both streams, which has no control characters."""
    try:
        ended = main([str(a) for a in arguments])
    except SystemExit as exited:  # of argparse
        ended = exited.code
    assert ended == status
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert not re.search(r"[\x1b\x9b\u202e]", printed)
    return printed


def test_the_name_of_a_picture_is_escaped_in_tables_lines_and_json(capsys, tmp_path):
    picture = tmp_path / f"{ESC}.jpg"
    Image.new("RGB", (16, 16)).save(picture)
    command = ("reconstruct", "vae_f8_z4_micro", picture, "-o", tmp_path / f"{ESC}.png")
    assert outputs(capsys, *command).count(SHOWN) == 2
    assert json.loads(outputs(capsys, *command, "--json"))["images"][0]["image"] == str(picture)


@pytest.mark.parametrize(
    "command", [("describe", f"local-dir:{ESC}"), ("describe", "vae_f8_z4", f"--{ESC}"), ("list", "--layout", ESC)]
)
def test_what_is_wrong_is_escaped(capsys, command):
    assert r"\x1b[31m" in outputs(capsys, *command, status=2)


def test_the_text_of_a_hub_is_escaped(capsys, hub):
    hub.before = lambda server, method, path: refusal(418, "no\x1b]0;title\x07")
    assert "418" in outputs(capsys, "download", "hf-hub:alice/vae", status=2)


def test_messages_of_a_training_are_escaped(capsys):
    Display(type("Recipe", (), {"steps": 1})).message(ESC)
    assert capsys.readouterr().out == f"{SHOWN}\n"


def test_a_card_shows_foreign_text_as_it_is(tmp_path):
    text = re.sub("summary: .*", lambda _: r'summary: "A <img src=x> \u202e | [link](x)"', LDM)
    vae = small(tmp_path, text, scale=1.0)
    vae.source = WeightsSource("hf-hub:a/b#`|\x1b", (), None, None, "a/b", "0" * 40, "0" * 64)
    page = card_text(vae, "mit").partition("```yaml")[0]
    assert r"A \<img src=x\> \\u202e \| \[link\](x)" in page
    assert rf"`hf-hub:a/b@{'0' * 40}#'\|\x1b (sha256 000000000000)`" in page


def test_commands_print_through_the_functions_that_escape():
    tools = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tools").glob("*.py")}
    assert [name for name, text in tools.items() if re.search(r"(?<![\w.])print\(", text)] == []
