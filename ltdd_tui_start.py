"""What the command `ltdd-tui` calls: it makes Python find its own library and this program before anything of a user's.

The current folder and PYTHONPATH come first in the search, so a json.py or engine.py there would hide ours.
A module beside the packages, since a user's ltdd_tui.py would hide everything in `ltdd_tui`.
"""

import os
import sys


def main() -> None:
    """Runs the command that sys.argv names."""
    sys.path[:] = own_code_first(sys.path)
    try:
        from ltdd_tui.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        # Ctrl-C while modules are still loaded.
        sys.exit(130)


def own_code_first(paths: list[str]) -> list[str]:
    """The folders of `paths` in the order standard library, this program, installed packages, PYTHONPATH and the rest.

    Python puts what is not installed before its library. An empty entry, the current folder whatever that is, goes.
    """
    library = os.path.dirname(os.__file__)
    begin = paths.index(library) if library in paths else 0
    # The library may also be a zip file, which stands right before its folder.
    begin -= begin > 0 and paths[begin - 1].endswith(".zip")
    end = next((place for place in range(begin, len(paths)) if paths[place].endswith("-packages")), len(paths))
    own = os.path.dirname(os.path.abspath(__file__))
    ordered = [*paths[begin:end], own, *paths[end:], *paths[:begin]]
    return list(dict.fromkeys(path for path in ordered if path))
