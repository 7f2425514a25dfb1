"""Creates, renames and deletes run folders, and looks after their queue.

The run's lock is held while it is renamed or deleted, so that no worker can start in between.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.run.errors import InputError
from engine.run.folder import RunFolder, write_atomically
from engine.run.manifest import change_manifest
from engine.run.metrics import whole_metrics
from engine.sweep.cells import SweepFolder
from ltdd_tui.runs.find import at_work, folder_of_runs
from ltdd_tui.runs.index import overview

LONGEST_NAME, LONGEST_NAME_BYTES = 100, 240


def create(name: str, runs_dir: Path, config: str) -> RunFolder:
    """A new run folder that holds `config`; raises InputError for a name that is taken or cannot be one."""
    check_name(name)
    folder = RunFolder(runs_dir / name)
    hint = "--runs-dir or LTDD_RUNS_DIR names another place"
    try:
        folder_of_runs(runs_dir).mkdir(parents=True, exist_ok=True)
        # Not exist_ok: of two that ask for one name at once, one is refused.
        folder.root.mkdir()
    except FileExistsError:
        raise _taken(folder) from None
    except OSError as error:
        raise InputError(f"the run's folder cannot be made: {error.strerror}", str(folder.root), hint) from None
    try:
        write_atomically(folder.config, config)
    except OSError as error:
        # A folder without settings is no run, and would only keep the name.
        with contextlib.suppress(OSError):
            folder.root.rmdir()
        raise InputError(f"the run's settings cannot be written: {error.strerror}", str(folder.config), hint) from None
    return folder


def is_whole(folder: RunFolder) -> bool:
    """Whether a run is done, and its events and all of its result are there: a worker has nothing left to make."""
    run = overview(folder)
    return run.state == "done" and not run.lost and bool(whole_metrics(folder)[0]) and not folder.damaged_result()


def promise_same_bytes(folder: RunFolder, promise: bool | None) -> None:
    """Notes whether workers refuse what is of another origin (engine/run/manifest.py); None leaves it as it is."""
    # A worker writes the file itself.
    if promise is not None and not folder.is_running():
        change_manifest(folder, same_bytes=promise)


def check_queue(folder: RunFolder, behind: Sequence[RunFolder]) -> None:
    """Raises InputError where a run or sweep would wait for ever: behind itself, or behind one that waits for it."""
    what = "sweep" if SweepFolder(folder.root).exists() else "run"
    if folder.root in [other.root for other in behind]:
        raise InputError(f"a {what} cannot wait for itself", "--after", "name another run")
    for other in behind:
        found, left = set[Path](), [other.root]
        while left:
            if (root := left.pop()) in found:
                continue
            found.add(root)
            left += [root.parent / name for name in _waits_for(RunFolder(root))]
        if folder.root in found:
            stop = f"`ltdd-tui stop {other.cli_name}` takes it out of the queue"
            raise InputError(f"{other.name} waits for {folder.name} itself", "--after", stop)


def _waits_for(folder: RunFolder) -> tuple[str, ...]:
    """The names of the runs that a run or sweep in the queue waits for."""
    if (sweep := SweepFolder(folder.root)).exists():
        return sweep.queued_behind()
    return overview(folder).queued_behind if folder.is_running() else ()


def check_free(name: str, runs_dir: Path) -> None:
    """Raises InputError where a new run cannot have this name, or another run has it."""
    check_name(name)
    folder = RunFolder(runs_dir / name)
    if os.path.lexists(folder.root):
        raise _taken(folder)


def _taken(folder: RunFolder) -> InputError:
    if not folder.exists():
        return InputError(f"something else is named {folder.name!r}", str(folder.root), "give another --name")
    return InputError(
        f"there is a run named {folder.name!r} already",
        str(folder.root),
        f"`ltdd-tui resume {folder.cli_name}` goes on with it; another --name starts a new one",
    )


def check_name(name: str) -> None:
    """Raises InputError unless `name` is a plain folder name."""
    if not name.strip():
        raise InputError("a run's name must not be empty", "--name")
    if (
        any(sign in name for sign in "/\\")
        or name in {".", "..", "last"}
        or not name.isprintable()
        or name[0] in ".- "
        or len(name) > LONGEST_NAME
        or len(name.encode()) > LONGEST_NAME_BYTES
    ):
        raise InputError(
            f"{name!r} cannot be a run's name",
            "--name",
            "a plain name such as cifar10-ipc10; --runs-dir says where it lies",
        )


def free_name(wanted: str, runs_dir: Path) -> str:
    """`wanted`, or `wanted`-2, -3 and so on: the first that is not taken."""
    name, number = wanted, 1
    while (runs_dir / name).exists():
        number += 1
        name = f"{wanted}-{number}"
    return name


def rename(folder: RunFolder, name: str) -> RunFolder:
    """Gives a run another name beside its old one; raises InputError for a taken or unfit name, or a run at work."""
    check_name(name)
    target = folder.root.with_name(name)
    with _claimed(folder):
        try:
            # A folder of its own first: a rename alone would quietly take the place of an empty one.
            target.mkdir()
        except FileExistsError:
            raise InputError(f"there is a run named {name!r} already", str(target), "choose another name") from None
        except OSError as error:
            raise _refused("renamed", error, folder) from None
        try:
            os.rename(folder.root, target)
        except OSError as error:
            target.rmdir()
            raise _refused("renamed", error, folder) from None
    return RunFolder(target)


def delete(folder: RunFolder) -> None:
    """Deletes a run with all its files; raises InputError where a worker has it, or where the system refuses."""
    with _claimed(folder):
        # Out of the list in one step, so that nobody meets it half deleted.
        doomed = folder.root.with_name(f".deleted-{folder.name}-{os.getpid()}")
        try:
            os.rename(folder.root, doomed)
        except OSError as error:
            raise _refused("deleted", error, folder) from None
        try:
            # First what makes it a run: should the rest fail, nothing half deleted is listed.
            (doomed / folder.config.name).unlink(missing_ok=True)
            shutil.rmtree(doomed)
        except OSError as error:
            raise InputError(
                f"not everything could be deleted: {error.strerror}", str(error.filename or doomed), f"see {doomed}"
            ) from None


def _refused(done: str, error: OSError, folder: RunFolder) -> InputError:
    return InputError(f"the run cannot be {done}: {error.strerror}", str(folder.root), "check its permissions")


@contextlib.contextmanager
def _claimed(folder: RunFolder) -> Iterator[None]:
    """Holds a run that exists; raises InputError for one that is gone, is at work, or is a link to somewhere else."""
    before = _identity(folder)
    # In a sweep's folder lie runs, which a worker may hold though nothing looks after the sweep any more.
    if folder.is_running() or at_work(folder.root):
        raise InputError("a worker is at work on this run", str(folder.root), "stop it first")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder.held())
        except OSError as error:
            raise _refused("held", error, folder) from None
        # While one waited for the lock, another may have put a new run in its place.
        if _identity(folder) != before:
            raise _gone(folder)
        yield


def _identity(folder: RunFolder) -> tuple[int, int]:
    """Device and inode of the folder, which tell it from another one of the same name."""
    if folder.root.is_symlink():
        raise InputError("this is a link to a run that lies elsewhere", str(folder.root), "remove the link by hand")
    try:
        stat = os.stat(folder.root)
    except OSError:
        raise _gone(folder) from None
    return stat.st_dev, stat.st_ino


def _gone(folder: RunFolder) -> InputError:
    return InputError("the run is gone", str(folder.root), "somebody renamed or deleted it")
