"""One file of a run, or of its cache, is damaged; then everything that reads it shows it, and goes on with it."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from benchmarks.robustness.processes import HANGS_AFTER_SECONDS, Answer, Forks, answer, command, kill_group, worker
from benchmarks.robustness.runs import (
    ABSENT,
    NO_EFFECT,
    NOTICED,
    REFUSED,
    SAME,
    Outcome,
    arguments,
    differences,
    run_in,
    settings,
)
from engine.run.folder import RunFolder
from engine.run.settings import RunSettings
from ltdd_tui.runs.index import examined
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.overall_progress import overall_progress
from ltdd_tui.runs.rows import rows_from_state

READERS = (("runs",), ("runs", "--json"), ("show", "run"), ("show", "run", "--json"))
OF_FINISHED = {
    "resume": ("resume", "run", "--device", "cpu"),
    "evaluate": ("evaluate", "run", "--arch", "convnet", "--repeats", "2", "--device", "cpu"),
    "export": ("export", "run", "--images", "out/images", "--pt", "out/pt"),
}
WITHOUT_COPY = re.compile(r"runs/run/(config\.yaml|checkpoint/(checks\.json|sets/.*))")
"""What a killed run cannot make again: the only files of which damage may refuse that it goes on."""
VERIFIED = re.compile(r"\.(safetensors|json|jsonl|pt2|png|so)$|config\.yaml$")
INCOMPLETE = "lines of it are damaged; what they told is missing here"
KILLED_AT = b'"type":"matching_step","iteration":7'
# When a file last changed, and where it is, say nothing of the run.
VOLATILE = re.compile(r'"(?:changed|path)": [^\n]*')
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
LARGEST_HOLE_BYTES = 4096
ODD_TEXTS = ("{}", "[]", '"text"', "1", "null", "true", "NaN", "", "{", "[" * 100_000, '{"a":' * 50_000)
ODD_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e308, 10**400, "", "text", [], {}, [[[]]], {"a": None}, "\x1b[2J")


def _bit(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _noise(content: bytes, rng: random.Random) -> bytes:
    place, length = _hole(content, rng)
    return content[:place] + rng.randbytes(length) + content[place + length :]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    """As a block that a file system had reserved and not written."""
    place, length = _hole(content, rng)
    return content[:place] + bytes(length) + content[place + length :]


def _hole(content: bytes, rng: random.Random) -> tuple[int, int]:
    place = rng.randrange(len(content))
    return place, min(len(content) - place, rng.randint(1, LARGEST_HOLE_BYTES))


def _json(content: bytes, rng: random.Random) -> bytes:
    """Another JSON text, or the same with one value that is of another kind."""
    try:
        value = json.loads(content)
    except ValueError:
        return rng.choice(ODD_TEXTS).encode()
    if rng.random() < 0.5 or not isinstance(value, dict | list) or not value:
        return rng.choice(ODD_TEXTS).encode()
    inner = value
    while isinstance(inner, dict | list) and inner:
        outer, key = inner, rng.choice([*(inner if isinstance(inner, dict) else range(len(inner)))])
        inner = outer[key]
        if rng.random() < 0.3:
            break
    outer[key] = rng.choice(ODD_VALUES)
    return json.dumps(value).encode()


def _missing(content: bytes, rng: random.Random) -> None:
    return None


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "bit": _bit,
    "cut": _cut,
    "noise": _noise,
    "zeros": _zeros,
    "json": _json,
    "missing": _missing,
}


class Damaged:
    """Copies of a run that was killed and of one that is done, with their caches, each with one damaged file."""

    def __init__(self, forks: Forks, work: Path, seed: int, own: RunSettings | None = None) -> None:
        self._forks, self._work, self._seed = forks, work, seed
        self._homes = {"killed": work / "template-killed", "done": work / "template-done"}
        for home in self._homes.values():
            shutil.rmtree(home, ignore_errors=True)
        # With a teacher, a library in C++, and everything that is read again.
        own = own or settings("ltdd-plus", compile="always")
        self._make_killed(run_in(self._homes["killed"], own))
        self._make_done(run_in(self._homes["done"], own))
        self._files = {name: _kinds_of_files(home) for name, home in self._homes.items()}
        self._answers = {name: self._read(self._copy(name, f"sound-{name}")) for name in self._homes}
        # Made when they are needed first, by one thread.
        self._results: dict[str, Path] = {}
        self._making = threading.Lock()

    def _make_killed(self, folder: RunFolder) -> None:
        home = self._homes["killed"]
        process = self._forks.start(worker, arguments(folder), home, home / "output")
        while process.exitcode is None and not (folder.events.exists() and KILLED_AT in folder.events.read_bytes()):
            time.sleep(0.001)
        kill_group(process)
        process.join()

    def _make_done(self, folder: RunFolder) -> None:
        home = self._homes["done"]
        shutil.copytree(self._homes["killed"] / "cache", home / "cache", copy_function=shutil.copy2)
        for action, words in (
            (worker, arguments(folder)),
            (command, ["tag", "run", "a", "--note", "b", *_below(home)]),
        ):
            if (done := self._forks.run(action, words, home, home / "output")).code:
                raise SystemExit(f"error: the undamaged run failed\n{done.err}")

    def _copy(self, template: str, name: str) -> Path:
        home = self._work / name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self._homes[template], home, copy_function=shutil.copy2)
        return home

    def _sound(self, template: str, action: str) -> Path:
        """Where the action was done on an undamaged copy."""
        name = f"sound-{template}-{action}"
        with self._making:
            if name not in self._results:
                home = self._results[name] = self._copy(template, name)
                done = self._forks.run(command, [*OF_FINISHED[action], *_below(home)], home, home / "output")
                if done.code:
                    raise SystemExit(f"error: {action} of an undamaged run failed\n{done.err}")
            return self._results[name]

    def _read(self, home: Path) -> dict[str, Answer]:
        """What each reader answers, its volatile parts left out."""
        seconds = (len(READERS) + 2) * HANGS_AFTER_SECONDS
        whole = self._forks.run(read_everything, [], home, home / "answers", seconds=seconds)
        if whole.breakage:
            return {"readers": whole}
        answers = {name: Answer(*own) for name, own in json.loads(whole.out).items()}
        return {
            name: Answer(own.code, *(VOLATILE.sub("", text.replace(str(home), "")) for text in (own.out, own.err)))
            for name, own in answers.items()
        }

    @cached_property
    def _known(self) -> set[str]:
        """All numbers that readers may show: of the runs as they are, without their figures or events, of the past."""
        answers = [own for by_reader in self._answers.values() for own in by_reader.values()]
        with self._making:
            for missing in ("result", "events.jsonl", "notes.json"):
                home = self._copy("done", f"sound-without-{missing}")
                path = home / "runs" / "run" / missing
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                answers += self._read(home).values()
        events = [(home / "runs" / "run" / "events.jsonl").read_text() for home in self._homes.values()]
        return {number for text in (*(own.out for own in answers), *events) for number in NUMBER.findall(text)}

    def case(self, number: int) -> Outcome:
        """One damage, all readers, and one command that works with what is there."""
        rng = random.Random(f"damages {self._seed} {number}")
        template = rng.choice(("killed", "done"))
        kind = rng.choice([*DAMAGES])
        file = rng.choice(rng.choice(self._files[template]))
        action = "resume" if template == "killed" else rng.choice([*OF_FINISHED])
        home = self._copy(template, f"damages-{number}")
        _damage(home / file, kind, rng)
        case = f"{template} run, {kind} in {file}"
        outcome = self._shown(template, self._read(home), case)
        if outcome.outcome in (SAME, REFUSED, ABSENT):
            done = self._forks.run(command, [*OF_FINISHED[action], *_below(home)], home, home / "output")
            made = self._made(template, action, done, home, f"{case}, {action}")
            if template == "killed" and made.outcome == REFUSED and not WITHOUT_COPY.fullmatch(file):
                made = Outcome("refused to go on", made.case, made.detail)
            outcome = worse(outcome, made)
        shutil.rmtree(home)
        return outcome

    def flip(self, number: int) -> Outcome:
        """One flipped bit in a file that is read again: `verify` or `cache verify` must name it."""
        rng = random.Random(f"flips {self._seed} {number}")
        template = rng.choice(("killed", "done"))
        kinds = [names for names in self._files[template] if VERIFIED.search(names[0])]
        file = rng.choice(rng.choice(kinds))
        home = self._copy(template, f"flips-{number}")
        before = (home / file).read_bytes()
        if not before:
            shutil.rmtree(home)
            return Outcome(NO_EFFECT, f"{template} run, {file} is empty")
        _damage(home / file, "bit", rng)
        verify = ["cache", "verify"] if file.startswith("cache/") else ["verify", "run", *_below(home)]
        told = self._forks.run(command, verify, home, home / "output")
        case = f"{template} run, bit in {file}"
        if told.breakage:
            outcome = Outcome(told.breakage, case, told.err[-2000:])
        elif told.code and Path(file).name in told.out:
            outcome = Outcome(NOTICED, case)
        elif _means((home / file).read_bytes(), file) == _means(before, file):
            outcome = Outcome(NO_EFFECT, case)
        else:
            outcome = Outcome("unnoticed", case, told.out[-500:] + told.err[-500:])
        shutil.rmtree(home)
        return outcome

    def _shown(self, template: str, answers: dict[str, Answer], case: str) -> Outcome:
        """The worst that a reader answered."""
        outcome = Outcome(SAME, case)
        for name, own in answers.items():
            if own == self._answers[template].get(name):
                continue
            if own.breakage:
                return Outcome(own.breakage, f"{case}, {name}", own.err[-2000:] + own.out[-500:])
            if own.code and not own.refused:
                return Outcome("failed without a reason", f"{case}, {name}", own.err[-500:])
            foreign = {*NUMBER.findall(own.out)} - self._known
            # Means over fewer experts are right, where their number is told and that something is missing.
            if foreign and INCOMPLETE not in own.err:
                return Outcome("shown wrong", f"{case}, {name}", " ".join(sorted(foreign)[:20]))
            outcome = worse(outcome, Outcome(REFUSED if own.refused else ABSENT, case, own.err[-300:]))
        return outcome

    def _made(self, template: str, action: str, done: Answer, home: Path, case: str) -> Outcome:
        """What the command made of the damaged run."""
        if done.breakage:
            return Outcome(done.breakage, case, done.err[-2000:])
        if done.refused:
            return Outcome(REFUSED, case, done.err[-300:])
        if done.code:
            return Outcome("failed without a reason", case, done.err[-500:])
        sound = self._sound(template, action)
        if action == "export":
            other = _differing_files(home / "out", sound / "out")
        else:
            other = differences(*(RunFolder(one / "runs" / "run") for one in (home, sound)))
        return Outcome("another result", case, other) if other else Outcome(SAME, case)


def _kinds_of_files(home: Path) -> list[list[str]]:
    """The files of a run and its cache, those together whose names differ in numbers and hashes alone."""
    kinds: dict[str, list[str]] = {}
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.is_file() and path.name != "lock" and name.startswith(("runs/", "cache/")):
            kinds.setdefault(re.sub(r"[0-9a-f]{16}|\d+", "N", name), []).append(name)
    return list(kinds.values())


def _means(content: bytes, file: str) -> Any:
    """What is read of a file: a zip file has bytes between its members, a text in YAML comments, that nobody reads."""
    if file.endswith(".pt2"):
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            return {name: members.read(name) for name in members.namelist()}
    return yaml.safe_load(content) if file.endswith(".yaml") else content


def _damage(path: Path, kind: str, rng: random.Random) -> None:
    """Damages the file and leaves its time as it was, as a disk does."""
    stat = path.stat()
    content = path.read_bytes()
    damaged = DAMAGES[kind](content, rng) if content else b"{}"
    if damaged is None:
        path.unlink()
        return
    path.write_bytes(damaged)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _differing_files(own: Path, sound: Path) -> str:
    names = {path.relative_to(one) for one in (own, sound) for path in one.rglob("*") if path.is_file()}
    pairs = {name: (own / name, sound / name) for name in sorted(names)}
    differ = [
        str(name)
        for name, (one, other) in pairs.items()
        if not (one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes())
    ]
    return ", ".join(differ[:5])


def _below(home: Path) -> list[str]:
    return ["--runs-dir", str(home / "runs")]


def worse(one: Outcome, other: Outcome) -> Outcome:
    """The outcome that says more: what is wrong, then what was refused, then what is taken for absent."""
    order = (SAME, ABSENT, REFUSED)
    rank = [order.index(own.outcome) if own.outcome in order else len(order) for own in (one, other)]
    return other if rank[1] >= rank[0] else one


def read_everything() -> int:
    """Prints what each reader answers, as JSON; in a process of its own."""
    home = Path.cwd()
    answers = {" ".join(words): answer(command, *words, "--runs-dir", "runs") for words in READERS}
    answers["state"] = answer(_read_state, str(home / "runs" / "run"))
    print(json.dumps({name: [own.code, own.out, own.err] for name, own in answers.items()}))
    return 0


def _read_state(root: str) -> int:
    """What the screen and the list of runs read."""
    read_state(RunFolder(root))
    return 0


def read_state(folder: RunFolder) -> None:
    """Reads a run as the screen does, and as the list of runs does."""
    run = LiveRun(folder)
    for _ in range(3):
        run.read(budget_seconds=HANGS_AFTER_SECONDS)
    state = run.view.state
    rows_from_state(state)
    overall_progress(state, 0.0)
    examined(folder)
