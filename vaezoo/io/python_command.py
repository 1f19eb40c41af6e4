"""Command lines that run a module of this installation in another process."""

import sys


def python_command(module: str) -> list[str]:
    """Return a command that runs a module as `__main__`, with the import path of this process.

    `python -m` would put the working directory first, and a `random.py` that lies there would be imported.

    Args:
        module: Dotted name of the module.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; import runpy; runpy.run_module({module!r}, {{}}, '__main__', True)"
    return [sys.executable, "-c", code]
