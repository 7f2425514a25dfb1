"""Files that others wrote, mutated: events, presets and images. Each is read, or refused by name, within seconds."""

from __future__ import annotations

import io
import json
import random
import shutil
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.robustness.damage import ODD_VALUES, read_state
from benchmarks.robustness.processes import HANGS_AFTER_SECONDS, Forks, Hang, at_most
from benchmarks.robustness.runs import READ, REFUSED, Outcome
from engine.data.image_files import load_image_folder
from engine.run.data_settings import DatasetSettings
from engine.run.errors import CONTROL_CHARACTER, LtddError
from engine.run.folder import RunFolder
from engine.run.image_inventory import inventory
from engine.run.presets import load_preset, shipped_folder
from tests.ltdd_tui.recorded import record

MOST_MUTATIONS = 8
ODD_YAML = (
    *(
        ".inf",
        "-.nan",
        "1e999",
        "0x10",
        "0o17",
        "1_000",
        "~",
        "yes",
        "2001-01-01",
        "'",
        '"',
        "[",
        "{",
        "]",
        "- -",
        ": :",
    ),
    *("!!python/object:os.system x", "!!binary aGk=", "&a [*a]", "*b", "<<: *c", "? x", "|", ">", "%YAML 9.9", ": :"),
    *("[" * 2000, "{a: " * 500, "9" * 5000, "\t", "\x1b[31m", "\x00", "\u2028", "extends: quickstart", "a" * 100_000),
)
SIDE, IMAGES_A_CLASS = 12, 3
FORMATS = {
    "png": ("RGB", "L", "P", "RGBA", "I;16", "1", "LA"),
    "jpg": ("RGB", "L", "CMYK"),
    "gif": ("P", "L"),
    "bmp": ("RGB", "L", "1"),
    "tif": ("RGB", "L", "I;16", "CMYK", "F"),
    "webp": ("RGB", "RGBA"),
    "ppm": ("RGB",),
}
BATCH = 100


# --- Mutations of bytes, of lines and of JSON -------------------------------------------------------------------------


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """One change of some bytes: flipped, cut, removed, repeated, inserted or overwritten."""
    place = rng.randrange(len(content) + 1)
    end = min(len(content), place + rng.choice((1, 4, 64, 4096)))
    noise = rng.choice((rng.randbytes(rng.randint(1, 64)), b"\x00" * 16, b"\xff" * 4, b"\n", "é\u2028".encode()))
    if place < len(content) and rng.random() < 0.4:
        return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
    part = content[place:end]
    replacement = rng.choice((b"", part * 2, noise, noise + part, noise[: len(part)].ljust(len(part), b"\0")))
    return content[:place] + replacement + (b"" if rng.random() < 0.1 else content[end:])


def mutated_lines(content: bytes, rng: random.Random, line: Callable[[bytes, random.Random], bytes]) -> bytes:
    """One change of some lines: removed, repeated, moved, or changed by `line`."""
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[place : place + rng.choice((1, 3, 50))]
        case 1:
            lines[place:place] = lines[place : place + rng.choice((1, 3, 50))] * rng.choice((1, 2, 20))
        case 2:
            lines.insert(rng.randrange(len(lines)), lines.pop(place))
        case _:
            lines[place] = line(lines[place], rng)
    return b"\n".join(lines)


def odd_event(line: bytes, rng: random.Random) -> bytes:
    """An event with one value, or one name of a field, that is of another kind."""
    try:
        fields = json.loads(line)
        name = rng.choice([*fields])
    except (ValueError, TypeError, IndexError):
        return line[: len(line) // 2]
    value: Any = rng.choice((*ODD_VALUES, fields[rng.choice([*fields])], [fields[name]], {"a": fields[name]}))
    if isinstance(fields[name], int | float) and rng.random() < 0.5:
        value = rng.choice((-fields[name], fields[name] * 10**9, fields[name] + 0.5, str(fields[name])))
    if rng.random() < 0.2:
        del fields[name]
    else:
        fields[name] = value
    return json.dumps(fields).encode()


def odd_yaml(line: bytes, rng: random.Random) -> bytes:
    """A line of YAML with another value, another key or another indentation."""
    key, colon, _ = line.partition(b":")
    odd = rng.choice(ODD_YAML).encode()
    return rng.choice((key + colon + b" " + odd, odd + colon, b"  " + line, line.lstrip(), odd, line + odd))


def mutated(content: bytes, rng: random.Random, line: Callable[[bytes, random.Random], bytes] | None) -> bytes:
    """The content after one to MOST_MUTATIONS changes."""
    for _ in range(rng.randint(1, MOST_MUTATIONS)):
        content = mutated_lines(content, rng, line) if line and rng.random() < 0.7 else mutated_bytes(content, rng)
    return content


# --- The cases --------------------------------------------------------------------------------------------------------


@cache
def _events(place: Path) -> bytes:
    return record(place / "recorded", "judged", iterations=10).events.read_bytes()


def read_events(place: Path, rng: random.Random) -> str:
    """Reads a mutated events.jsonl as screen and list do."""
    folder = RunFolder(place / "recorded")
    content = mutated(_events(place), rng, odd_event)
    folder.events.write_bytes(content)
    read_state(folder)
    return f"{len(content)} bytes"


def read_preset(place: Path, rng: random.Random) -> str:
    """Reads a mutated preset of those shipped."""
    path = rng.choice(sorted(shipped_folder().glob("*.yaml")))
    mine = place / "mine.yaml"
    mine.write_bytes(mutated(path.read_bytes(), rng, odd_yaml))
    load_preset(str(mine))
    return path.name


@cache
def _image(ending: str, mode: str) -> bytes:
    drawn = Image.frombytes("RGB", (SIDE, SIDE), random.Random(1).randbytes(3 * SIDE * SIDE))
    file = io.BytesIO()
    drawn.convert("I;16" if mode == "I;16" else mode).save(file, Image.registered_extensions()[f".{ending}"])
    return file.getvalue()


def read_image(place: Path, rng: random.Random) -> str:
    """Takes stock of a folder with one mutated image, then loads it as a run does."""
    root = place / "images"
    shutil.rmtree(root, ignore_errors=True)
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(IMAGES_A_CLASS):
            (root / label / f"{number}.png").write_bytes(_image("png", "RGB"))
    ending = rng.choice([*FORMATS])
    mode = rng.choice(FORMATS[ending])
    (root / "a" / f"mine.{ending}").write_bytes(mutated(_image(ending, mode), rng, None))
    settings = DatasetSettings(name="folder", path=str(root), resolution=8)
    inventory(settings)
    source = load_image_folder(settings, lambda event: None)
    for split in (source.train, source.test):
        read = split.read(np.arange(len(split.labels)))
        assert read.shape[0] == len(split.labels)
    return f"{mode} {ending}"


READERS: dict[str, Callable[[Path, random.Random], str]] = {
    "events": read_events,
    "presets": read_preset,
    "images": read_image,
}


def case(part: str, place: Path, seed: int, number: int) -> Outcome:
    """One mutated file of a part, in the folder `place`; in a main thread only."""
    rng = random.Random(f"{part} {seed} {number}")
    told = f"{part} {number}"
    try:
        with at_most(HANGS_AFTER_SECONDS):
            return Outcome(READ, f"{told}: {READERS[part](place, rng)}")
    except LtddError as error:
        text = str(error)
        if CONTROL_CHARACTER.search(text.replace("\n", "")):
            return Outcome("control characters told", told, repr(text)[:500])
        named = "mine" in text or part == "events"
        return Outcome(REFUSED if named else "refused without its name", told, text[:500])
    except Hang:
        return Outcome("hang", told)
    except Exception:
        return Outcome("traceback", told, traceback.format_exc()[-2000:])


def _print_cases(part: str, place: str, seed: int, numbers: Sequence[int]) -> int:
    Path(place).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        outcome = case(part, Path(place), seed, number)
        print(json.dumps([outcome.outcome, outcome.case, outcome.detail]), flush=True)
    return 0


class Mutated:
    """Cases of one part, many in a process of their own; one that dies costs the case at which it does."""

    def __init__(self, forks: Forks, work: Path, part: str, seed: int) -> None:
        self._forks, self._work, self._part, self._seed = forks, work, part, seed

    def cases(self, numbers: Sequence[int]) -> list[Outcome]:
        """The outcome of each."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(numbers):
            left = numbers[len(outcomes) :]
            home = self._work / f"{self._part}-{left[0]}"
            home.mkdir(parents=True, exist_ok=True)
            words = [self._part, str(home / "files"), self._seed, left]
            seconds = HANGS_AFTER_SECONDS * (len(left) + 1)
            answer = self._forks.run(_print_cases, words, home, home / "output", seconds=seconds)
            outcomes += [Outcome(*json.loads(line)) for line in answer.out.splitlines() if line.endswith("]")]
            if len(outcomes) < len(numbers):
                outcome = answer.breakage or "failed without a reason"
                outcomes.append(Outcome(outcome, f"{self._part} {numbers[len(outcomes)]}", answer.err[-2000:]))
            shutil.rmtree(home)
        return outcomes
