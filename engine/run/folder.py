"""The files of a run: their names, atomic writing, and the lock of the one worker that may write them."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import re
import shlex
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import unquote

from platformdirs import user_cache_path, user_config_path
from pydantic import TypeAdapter, ValidationError

from engine.run.checksums import DamagedFile, check_form, sealed_json, unsealed_json, verified, verify_stream
from engine.run.errors import Fault, InputError
from engine.run.locks import LockHeld as LockHeld
from engine.run.locks import exclusive as exclusive
from engine.run.locks import gone_run, run_held, run_is_gone
from engine.run.locks import holder as holder
from engine.run.locks import is_held as is_held
from engine.run.regular_files import open_regular, read_regular

STARTING_SECONDS = 20.0
"""A worker that does not hold its run after that time will not come any more."""

MARKER = "distilled.json"
"""In each folder of copies: tells an earlier copy of the same set, which may be replaced, from anything else."""
STORED_IMAGES = "stored_images.pt"
"""Beside the images.pt of a set with mini-images, which holds these enlarged: the images that they are cut from."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Why nothing can be written, whatever the file."""


def cache_root() -> Path:
    """Where experts and downloaded data sets are kept: `$LTDD_CACHE`, else the user's cache folder.

    Raises InputError where the user has no home folder.
    """
    named = os.environ.get("LTDD_CACHE")
    return expanded(named) if named else _below_home(user_cache_path)


def default_runs_dir() -> Path:
    """Where runs lie unless --runs-dir says otherwise: `$LTDD_RUNS_DIR`, else `runs` here."""
    return expanded(os.environ.get("LTDD_RUNS_DIR") or "runs")


def cli_name(root: Path) -> str:
    """What a person calls a run or a sweep by at a shell: its name where the default place has it, else its path."""
    return shlex.quote(root.name if root.parent == default_runs_dir().absolute() else str(root))


def evaluations_root() -> Path:
    """Where the results of networks that evaluations have trained are kept, a file for each hash."""
    return cache_root() / "evaluations"


def user_config_root() -> Path:
    """Where the user's own presets and preferences are kept: `$LTDD_HOME`, else the user's configuration folder.

    Raises InputError where the user has no home folder.
    """
    named = os.environ.get("LTDD_HOME")
    return expanded(named) if named else _below_home(user_config_path)


def _below_home(place: Callable[[str], Path]) -> Path:
    with contextlib.suppress(RuntimeError):
        # Older versions of platformdirs raise nothing and leave the ~ as it is.
        if (path := place("ltdd-tui")).is_absolute():
            return path
    raise InputError("this user has no home folder", "HOME", "set HOME, or both LTDD_CACHE and LTDD_HOME, to a folder")


def expanded(path: str) -> Path:
    """The path that a person means by a text: ~ is replaced, and its wrapping goes unless the text itself is there.

    Paths are pasted in quotes, with the escapes of a shell, as file:// or with a line end, and the same name has two
    forms in Unicode (NFC and NFD). Unlike Path.expanduser it raises nothing for an unknown user: the ~ stays.
    """
    as_typed = os.path.expanduser(path)
    if os.path.lexists(as_typed):
        return Path(as_typed)
    return _in_form_that_exists(Path(os.path.expanduser(_unwrapped(path.strip()))))


def _unwrapped(text: str) -> str:
    """A pasted path without quotes, escapes and file://."""
    if text.startswith("file://"):
        # What stands between the slashes is a host: none, or this one.
        return unquote(text.removeprefix("file://").removeprefix("localhost"))
    if text[:1] in ("'", '"') or "\\" in text:
        with contextlib.suppress(ValueError):
            words = shlex.split(text)
            return words[0] if len(words) == 1 else text
    return text


def _in_form_that_exists(path: Path) -> Path:
    """The path with each name in the form of Unicode in which it is there; as it is from the first that is missing."""
    there = Path(path.anchor)
    for name in path.relative_to(path.anchor).parts:
        forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
        there /= next((form for form in forms if os.path.lexists(there / form)), name)
    return there


def is_private(path: Path) -> bool:
    """Whether it is this user's, who alone can write it; raises OSError where it is missing."""
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def write_atomically(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Replaces a file by `content`; readers, and whoever comes after a crash, see the old file or the new one.

    Without `sync` a failure of the power may leave a damaged one. Raises RunFailed where a run that this worker holds
    was deleted or moved: it is not made anew.
    """
    if root := gone_run(path):
        raise run_is_gone(root)
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two writers must not share a temporary file: containers with a folder in common may have equal process ids.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # On a full disk the half-written file would keep room that is needed.
        with contextlib.suppress(OSError):
            temporary.unlink()
        if root := gone_run(path):
            raise run_is_gone(root) from None
        # A failed write itself names no file, and the disk that is full may be the cache's or the run's.
        error.filename = str(path)
        if error.errno in FULL_DISK:
            error.strerror = f"{error.strerror}; {len(data):,} bytes were to be written"
        raise
    if root := gone_run(path):
        # It went just now: what was made since is this file, and the empty folders above it.
        with contextlib.suppress(OSError):
            path.unlink()
            for folder in itertools.takewhile(lambda parent: parent.is_relative_to(root), path.parents):
                folder.rmdir()
        raise run_is_gone(root)


TEMPORARY = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp")
"""The name of a file that `write_atomically` has not finished, with the id of its process."""


def clear_temporaries(folder: Path, older_than_seconds: float = 0.0) -> None:
    """Deletes below a folder what writers left unfinished that have died since.

    Only their process ids on this machine tell that: the caller holds the folder, or asks for old ones.
    """
    for path in folder.rglob(".*.tmp"):
        # A file may be gone by now, or be another user's.
        with contextlib.suppress(OSError):
            found, age = TEMPORARY.fullmatch(path.name), time.time() - path.stat().st_mtime
            if found and age >= older_than_seconds and not _is_alive(int(found[1])):
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return process != os.getpid()


def write_json(path: Path, value: Any, sync: bool = True, sealed: bool = False) -> None:
    """Writes `value` as indented JSON, atomically; `sealed`: with a checksum, which `read_json` compares."""
    write_atomically(path, sealed_json(value) if sealed else json.dumps(value, indent=2) + "\n", sync)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what vanishes while it is counted counts as nothing."""
    files = [Path(base, name) for base, _, names in os.walk(path) for name in names]
    total = 0
    for file in [path] if path.is_file() else files:
        with contextlib.suppress(OSError):
            total += os.lstat(file).st_size
    return total


Content = TypeVar("Content")

LARGEST_JSON_BYTES = 1 << 28
"""Of a JSON file: ours are a thousand times smaller, and a larger one would fill the memory."""

JSON_OBJECT = TypeAdapter(dict[str, Any])


def read_verified(path: Path) -> bytes:
    """The content of a file; raises DamagedFile where it does not match its checksum, and OSError as reading does."""
    return verified(read_regular(path))


def verify_file(path: Path) -> bool:
    """Whether the file has a checksum, which then matches; raises DamagedFile where it does not, and OSError.

    The file is read once, a little at a time: it takes no memory.
    """
    with open_regular(path) as file:
        return verify_stream(file)


def read_sealed_json(path: Path) -> Any:
    """The value in a JSON file, without its checksum; raises ValueError for a damaged one, and OSError."""
    return unsealed_json(read_regular(path, LARGEST_JSON_BYTES))


def read_json(path: Path) -> Any:
    """The content of a JSON file, without its checksum; None where it is missing or damaged."""
    try:
        return read_sealed_json(path)
    except (OSError, ValueError):
        return None


def read_typed(path: Path, kind: TypeAdapter[Content] | type[Content]) -> Content | None:
    """What a JSON file holds, as this type; None where it is missing or damaged, or holds anything else. Never raises.

    Strict: neither a text nor true is a number. Files of a run and of the cache are read by this, so that what another
    program, a person or a damaged disk has put there is as good as no file.
    """
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_python(read_json(path), strict=True)
    except ValidationError:
        return None


class RunFolder:
    """The files of one run below `root`; creating the object touches nothing."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.name = self.root.name
        self.config = self.root / "config.yaml"
        self.manifest = self.root / "manifest.json"
        self.data = self.root / "data.json"
        self.held_out = self.root / "held_out.txt"
        self.events = self.root / "events.jsonl"
        self.console = self.root / "console.log"
        self.lock = self.root / "lock"
        self.stop_request = self.root / "stop"
        # The set made elsewhere that the run starts from, where there is one.
        self.start_set = self.root / "start.safetensors"
        self.checkpoint = self.root / "checkpoint"
        self.evaluations = self.checkpoint / "evaluations"
        self.previews = self.root / "previews"
        self.result = self.root / "result"
        self.distilled = self.result / "distilled.safetensors"
        self.teacher = self.result / "teacher.safetensors"
        self.model = self.result / "model.pt2"
        self.onnx = self.result / "model.onnx"
        self.metrics = self.result / "metrics.json"
        self.confusion = self.result / "confusion.json"
        self.scores = self.result / "scores.json"
        self.grid = self.result / "grid.png"
        self.card = self.result / "README.md"
        # Written by the app alone: what a person notes of the run.
        self.notes = self.root / "notes.json"

    @property
    def cli_name(self) -> str:
        """What a person calls it by at a shell."""
        return cli_name(self.root)

    def exists(self) -> bool:
        """Whether this is a run: a folder with a resolved configuration."""
        return self.config.is_file()

    def damaged_result(self) -> Fault | None:
        """The first file of the result that does not match its checksum; None where all do."""
        for path in (self.distilled, self.metrics, self.teacher):
            with contextlib.suppress(OSError):
                stat = path.stat()
                if damage := _damage_in(path, stat.st_mtime_ns, stat.st_size):
                    hint = f"`ltdd-tui resume {self.cli_name}` writes it anew"
                    return Fault(f"the file is damaged: {damage}", str(path), hint)
        return None

    def older_console(self, number: int) -> Path:
        """What an earlier worker printed; the first one has the number 1."""
        return self.root / f"console-{number}.log"

    def older_consoles(self) -> list[Path]:
        """What the workers before the latest one printed, the newest first."""
        numbers = [path.stem.removeprefix("console-") for path in self.root.glob("console-*.log")]
        return [self.older_console(number) for number in sorted(map(int, filter(str.isdecimal, numbers)), reverse=True)]

    def open_console(self) -> IO[bytes]:
        """A new, empty console.log to write and read; the one before it is kept under the next free number."""
        for number in itertools.count(1):
            older = self.older_console(number)
            if older.exists():
                continue
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.console, older)
            # Another program that starts a worker at the same moment may have made one in between.
            with contextlib.suppress(FileExistsError):
                return open(self.console, "x+b")
        raise AssertionError("numbers do not end")

    def is_running(self) -> bool:
        """Whether a worker holds the folder's lock; the system frees the lock of a killed worker."""
        return is_held(self.lock)

    def is_starting(self) -> bool:
        """Whether a worker was launched a moment ago that does not hold the folder yet: it loads its libraries first.

        The app gives each worker a new console.log, and it has printed nothing so far.
        """
        try:
            console = self.console.stat()
            taken_before = self.lock.exists() and self.lock.stat().st_mtime >= console.st_mtime
        except OSError:
            return False
        return not console.st_size and not taken_before and abs(time.time() - console.st_mtime) < STARTING_SECONDS

    def holder(self) -> tuple[str, int] | None:
        """The machine and the process id of the worker that holds the folder, or held it last; None if not known."""
        return holder(self.lock)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for one worker; raises LockHeld where another one has it, or InputError as `exclusive`.

        Where it is deleted or moved meanwhile, what is written into it raises RunFailed.
        """
        with run_held(self.root, self.lock):
            is_run, before = self.exists(), os.stat(self.root)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    in_place = os.path.samestat(os.stat(self.root), before)
                    if is_run and in_place and not (self.exists() or self.events.exists()):
                        # What was written while the folder was being deleted could not be deleted with it.
                        for made_here in (self.checkpoint, self.previews):
                            shutil.rmtree(made_here, ignore_errors=True)
                        for path in (self.manifest, self.data, self.held_out, self.lock):
                            path.unlink(missing_ok=True)
                        self.root.rmdir()


@functools.lru_cache(maxsize=1024)
def _damage_in(path: Path, mtime_ns: int, size: int) -> str:
    """What is wrong with a file of a result, empty where nothing is. Screens ask again and again: it is read once."""
    try:
        if not verify_file(path) and path.suffix == ".safetensors":
            with open_regular(path) as file:
                check_form(file.read(9), size)
    except DamagedFile as error:
        return str(error)
    return ""


def folder_names(class_names: list[str]) -> list[str]:
    """A folder name for each class that every file system takes; no two are equal, even where case does not count."""
    names: list[str] = []
    for c, class_name in enumerate(class_names):
        name = re.sub(r"[^\w.-]+", "_", class_name)[:80].strip("._") or f"class_{c}"
        while name.casefold() in {other.casefold() for other in names}:
            name += f"_{c}"
        names.append(name)
    return names
