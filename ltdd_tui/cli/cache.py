"""`cache list` and `cache prune`: what lies in the cache, and what of it can go.

Everything in the cache can be made again, except imported experts, for which their files are needed. Data sets and
what the machine was timed with are listed and never pruned.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.run.errors import InputError, SettingsError, escaped
from engine.run.expert_cache import ABOUT, cached_folders, experts_root
from engine.run.folder import (
    LockHeld,
    RunFolder,
    cache_root,
    evaluations_root,
    exclusive,
    read_json,
    size_of,
)
from engine.run.presets import load_preset
from ltdd_tui.cli.options import AsJson, RunsDir
from ltdd_tui.cli.output import plain_table, print_data, print_json, print_note, print_text
from ltdd_tui.cli.verify import verify_cache
from ltdd_tui.formatting import ago, factor_name, first_few, size
from ltdd_tui.runs.find import at_work, run_folders

app = typer.Typer(help="What lies in the cache: list it, look for damage, and delete what is not needed.")
app.command("verify")(verify_cache)

GB = 10**9
DAY_SECONDS = 86400.0

# ---- What lies in the cache ----


@dataclass(frozen=True)
class CacheEntry:
    """A folder or file of the cache: what it is, what made it, and when it was last used, in seconds since 1970.

    runs: names of the runs that would take it, where that can be told. can_go: whether `prune` may delete it.
    """

    kind: str
    path: Path
    used: float
    size: int
    made_by: str = ""
    runs: tuple[str, ...] = ()
    can_go: bool = True

    @property
    def name(self) -> str:
        """The path below the cache."""
        return str(self.path.relative_to(cache_root()))


def cache_entries(runs_dir: Path) -> list[CacheEntry]:
    """Everything in the cache, the last used first; `runs` are those below `runs_dir`."""
    users, entries = _users(runs_dir), list[CacheEntry]()
    for path in _below(experts_root()):
        about = read_json(path / ABOUT)
        about = about if isinstance(about, dict) else {}
        kind = str(about.get("kind", "unknown experts"))
        kind += " experts" if kind in ("representation", "classifier") else ""
        used, runs = _changed(path / ABOUT) or _changed(path), tuple(users.get(path, ()))
        # Imported ones are copies of files that may be gone: no run can make them again.
        entries.append(CacheEntry(kind, path, used, size_of(path), _made_by(about), runs, "source" not in about))
    entries += [
        CacheEntry("evaluation", path, _changed(path), size_of(path))
        for path in _below(evaluations_root())
        if path.is_file()
    ]
    kinds = {"native": "C++ libraries", "torch": "kernels of torch", "data": "data sets", "calibration": "timings"}
    for path in _below(cache_root()):
        if path not in (experts_root(), evaluations_root()):
            can_go = path.name in ("native", "torch")
            used = max(map(_changed, (path, *_below(path))), default=0.0)
            entries.append(CacheEntry(kinds.get(path.name, "other"), path, used, size_of(path), can_go=can_go))
    return sorted(entries, key=lambda entry: -entry.used)


def _users(runs_dir: Path) -> dict[Path, list[str]]:
    """The names of the runs that would take the experts of a folder."""
    users: dict[Path, list[str]] = {}
    for folder in _runs_and_cells(runs_dir):
        name = str(folder.root.relative_to(runs_dir.absolute()))
        try:
            # As they are, also where they were changed since the run began.
            settings = load_preset(str(folder.config), quiet=True)
        except (SettingsError, OSError):
            print_note(f"warning: the settings of {name} cannot be read: what it uses is not known")
            continue
        if settings.unresolved:
            continue
        manifest = read_json(folder.manifest)
        device = str(manifest.get("device", "cpu")) if isinstance(manifest, dict) else "cpu"
        for path in cached_folders(settings, device.partition(":")[0]):
            if path is not None:
                users.setdefault(path, []).append(name)
    return users


def _runs_and_cells(runs_dir: Path) -> Iterator[RunFolder]:
    for folder in run_folders(runs_dir, with_sweeps=True):
        yield from [folder] if folder.exists() else run_folders(folder.root)


def _made_by(about: dict[str, Any]) -> str:
    """What made the experts of an about.json, in a few words."""
    if "source" in about:
        return f"imported from {about['source']}"
    if "representation" in about:
        return f"on experts {about['representation']}"
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        dataset, own = about["dataset"], about.get("experts") or about.get("teacher") or {}
        words = [str(dataset["name"]), f"IF {factor_name(dataset['imbalance_factor'])}"]
        words += [f"{own['network']} {own['width']} x {own['depth']}"] if "network" in own else []
        return ", ".join([" ".join(words), f"{own['epochs']} epochs", f"seed {about['seed']}", str(about["device"])])
    return ""


def _below(folder: Path) -> list[Path]:
    """What is in a folder, which need not exist."""
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _changed(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


@app.command("list")
def list_cache(runs_dir: RunsDir, as_json: AsJson = False) -> None:
    """List what lies in the cache: what made it, its size, its last use, and the runs that would take it."""
    entries = cache_entries(runs_dir)
    if as_json:
        print_json([vars(entry) | {"path": str(entry.path), "runs": list(entry.runs)} for entry in entries])
        return
    table, now = plain_table("what", "name", "made by", "size", "last use", "runs", right=["size"]), time.time()
    networks = [entry for entry in entries if entry.kind == "evaluation"]
    for entry in (entry for entry in entries if entry.kind != "evaluation"):
        runs = ", ".join(first_few(entry.runs, 2)) if entry.runs else "none" if "experts" in entry.kind else ""
        used = ago(now - entry.used)
        table.add_row(entry.kind, escaped(entry.name), escaped(entry.made_by), size(entry.size), used, escaped(runs))
    if networks:  # thousands of small files
        total, used = size(sum(entry.size for entry in networks)), ago(now - networks[0].used)
        table.add_row("evaluations", "evaluations", f"{len(networks):,} files", total, used, "")
    if entries:
        print_data(table)
    print_note(f"{size(sum(entry.size for entry in entries))} in {cache_root()}")


# ---- Pruning ----


def to_prune(
    entries: Sequence[CacheEntry], since: float, unused: bool, older_than: float | None, to_size: float | None
) -> list[CacheEntry]:
    """What `prune` deletes: what nobody used since `since`, in the order in which it is deleted.

    unused: only experts that no run would take. older_than: only what was last used before, in seconds since 1970.
    to_size: no more than it takes until so many bytes are left; what no run would take goes first, then the least
    recently used.
    """
    chosen = [entry for entry in entries if entry.can_go and entry.used < since]
    if unused:
        chosen = [entry for entry in chosen if not entry.runs and entry.path.parent == experts_root()]
    if older_than is not None:
        chosen = [entry for entry in chosen if entry.used < older_than]
    chosen.sort(key=lambda entry: (bool(entry.runs), entry.used))
    if to_size is None:
        return chosen
    left, needed = sum(entry.size for entry in entries), list[CacheEntry]()
    for entry in chosen:
        if left <= to_size:
            break
        needed.append(entry)
        left -= entry.size
    return needed


@app.command("prune")
def prune(
    runs_dir: RunsDir,
    unused: Annotated[bool, typer.Option("--unused", help="experts that no run of --runs-dir would take")] = False,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="what was last used before", min=0)
    ] = None,
    to_gb: Annotated[
        float | None,
        typer.Option("--to", metavar="GB", help="the least recently used, until the cache is so small", min=0),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be deleted, and delete nothing")] = False,
) -> None:
    """Delete what the options choose from the cache; with several, what all of them choose.

    Runs make it again when they need it. What a worker of --runs-dir may use is kept: all that was used since the
    first of them began. Data sets and timings of the machine are kept.
    """
    if not unused and older_than is None and to_gb is None:
        raise InputError("nothing is chosen", "prune", "give --unused, --older-than DAYS or --to GB")
    entries, now = cache_entries(runs_dir), time.time()
    # A worker writes into its lock as it begins. Without one, nothing is spared.
    since = min((_changed(folder.lock) for folder in at_work(runs_dir)), default=now + DAY_SECONDS)
    before = None if older_than is None else now - older_than * DAY_SECONDS
    freed = 0
    for entry in to_prune(entries, since, unused, before, None if to_gb is None else to_gb * GB):
        if not dry_run and not _deleted(entry):
            print_note(escaped(f"kept, as a worker uses it: {entry.name}"))
            continue
        freed += entry.size
        print_text(f"{escaped(entry.name)}\t{size(entry.size)}\t{entry.kind}")
    left = sum(entry.size for entry in entries) - freed
    print_note(f"{size(freed)} {'would be ' if dry_run else ''}deleted, {size(left)} left in {cache_root()}")


def _deleted(entry: CacheEntry) -> bool:
    """Deletes an entry; returns whether that was possible: a worker may hold the lock of experts."""
    if entry.path.is_symlink() or not entry.path.is_dir():
        entry.path.unlink(missing_ok=True)
        return True
    lock = entry.path / "lock"
    try:
        with exclusive(lock, "a worker uses these experts") if lock.exists() else contextlib.nullcontext():
            shutil.rmtree(entry.path)
    except LockHeld:
        return False
    return True
