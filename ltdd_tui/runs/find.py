"""Where runs are, and which one a name means."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.run.errors import InputError
from engine.run.folder import RunFolder, expanded
from engine.run.locks import is_held
from engine.run.manifest import refuse_newer
from engine.sweep.cells import SweepFolder


def folder_of_runs(path: Path) -> Path:
    """The path as it is meant, which need not be there yet; raises InputError where it can hold no runs."""
    path = expanded(str(path))
    if path.exists() and not path.is_dir():
        raise InputError(
            "this is a file, and no folder that holds runs",
            str(path),
            "--runs-dir or LTDD_RUNS_DIR names another place",
        )
    return path


def find_run(run: str, runs_dir: Path) -> RunFolder:
    """The run of a name, of a path, or the newest for `last`.

    Raises InputError where there is none, or a newer version made it.
    """
    if run == "last":
        if newest := max(run_folders(runs_dir), key=last_change, default=None):
            refuse_newer(newest)
            return newest
        raise InputError("there are no runs yet", str(runs_dir), "`ltdd-tui run quickstart` makes one")
    for path in (expanded(str(runs_dir / run)), expanded(run)) if run else ():
        # A name may be longer than the system allows.
        with contextlib.suppress(OSError, ValueError):
            if (folder := RunFolder(path)).exists():
                refuse_newer(folder)
                return folder
    similar = difflib.get_close_matches(run, [folder.name for folder in run_folders(runs_dir)], 1)
    hint = f"did you mean {similar[0]!r}?" if similar else "`ltdd-tui runs` lists them; --runs-dir looks elsewhere"
    raise InputError(f"there is no run {run!r}", str(runs_dir), hint)


def find_sweep_folder(name: str, runs_dir: Path) -> SweepFolder | None:
    """The folder of a sweep, by its name or a path; None where there is none."""
    for path in (expanded(str(runs_dir / name)), expanded(name)) if name else ():
        with contextlib.suppress(OSError, ValueError):
            if (folder := SweepFolder(path)).exists():
                return folder
    return None


def find_run_or_sweep(name: str, runs_dir: Path) -> RunFolder:
    """As `find_run`, also of a sweep: its folder has the same lock and stop request."""
    sweep = find_sweep_folder(name, runs_dir)
    return RunFolder(sweep.root) if sweep else find_run(name, runs_dir)


def run_folders(runs_dir: Path, with_sweeps: bool = False) -> Iterator[RunFolder]:
    """Every run below `runs_dir`, by name, or every run and sweep; nothing where there is no such folder."""
    for path in sorted(runs_dir.iterdir()) if runs_dir.is_dir() else ():
        if (folder := RunFolder(path)).exists() or (with_sweeps and SweepFolder(path).exists()):
            yield folder


def at_work(runs_dir: Path) -> list[RunFolder]:
    """The runs and sweeps below `runs_dir` that a worker holds; raises OSError where it cannot be looked into."""
    paths: list[Path] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        paths = sorted(runs_dir.iterdir())
    return [RunFolder(path) for path in paths if is_held(path / "lock")]


def others_at_work(folders: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs and sweeps beside these that a worker holds."""
    known = {folder.root for folder in folders}
    below = {folder.root.parent for folder in folders}
    return [other for path in below for other in at_work(path) if other.root not in known]


def last_change(folder: RunFolder) -> float:
    """When the run's events last changed, or else its settings, in seconds since 1970; of a sweep, its folder."""
    for path in (folder.events, folder.config, folder.root):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0
