"""Run `vaezoo` commands in the test process."""

from vaezoo.cli import main


def run(capsys, *arguments: object) -> str:
    """Run `vaezoo` with the given arguments and return its output."""
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out
