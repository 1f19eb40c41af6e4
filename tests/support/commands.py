"""Commands run in this process."""

from vaezoo.cli import main


def run(capsys, *arguments: object) -> str:
    """Run `vaezoo` with arguments; returns what it printed."""
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out
