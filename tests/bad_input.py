"""Bad inputs, each with the message and the exit code that a user gets: tested, and rendered as docs/bad-input.md.

To add one, append a `BadInput` below its topic, run `python -m scripts.generate_docs` and the test
`tests/repository/test_bad_input.py`. This file holds data only and imports nothing heavy: `make` imports inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class BadInput:
    """A command in a new empty folder, what was bad about its input, and all that it says on stderr.

    command: `ltdd-tui ...` or `python -m engine ...` (the worker), split as a shell does; it runs in this process.
    files: text or bytes by relative path, written before. make: makes what `files` cannot, such as images; `given` says
    it in words. environment: variables set before; LTDD_CACHE, LTDD_HOME and LTDD_RUNS_DIR are `cache`, `home`, `runs`.
    message: exactly what stands on stderr, where paths below the folder are relative.
    """

    command: str
    message: str
    exit_code: int = 2
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    make: Callable[[Path], None] | None = None
    given: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


CHECK = "ltdd-tui presets check mine.yaml"


def mine(text: str | bytes, message: str) -> BadInput:
    """A preset of one's own, mine.yaml, that is checked."""
    return BadInput(CHECK, message, files={"mine.yaml": text})


def override(argument: str, message: str) -> BadInput:
    """The quickstart preset with one --set."""
    return BadInput(f"ltdd-tui presets check quickstart --set {argument}", message)


BAD_INPUTS: dict[str, list[BadInput]] = {
    "Settings: values": [
        mine("ipc: 0\n", "error: mine.yaml:1: ipc: must be >= 1, this is 0\nhint: synthetic images per class (IPC)"),
        mine(
            "matching:\n  image_lr: fast\n",
            "error: mine.yaml:2: matching.image_lr: a number is needed, this is the text 'fast'\n"
            "hint: step size of the synthetic images",
        ),
        mine(
            "matching:\n  image_lr: '1e2'\n",
            "error: mine.yaml:2: matching.image_lr: a number is needed, this is the text '1e2'\n"
            "hint: write it without quotes: 1e2",
        ),
        override(
            "method=ltdp",
            "error: --set: method: 'ltdp' is not known; known: ltdd, dam, ed, datm, mtt, random\n"
            "hint: did you mean ltdd?",
        ),
    ],
    "Settings: numbers that are not decimal": [
        mine(
            "ipc: 1:30\n",
            "error: mine.yaml:1: ipc: a whole number is needed, this is the text '1:30'\n"
            "hint: synthetic images per class (IPC)",
        ),
        mine(
            "ipc: 0x10\n",
            "error: mine.yaml:1: ipc: a whole number is needed, this is the text '0x10'\n"
            "hint: write it in decimal digits: 16",
        ),
        mine(
            "matching: {iterations: 1_000}\n",
            "error: mine.yaml:1: matching.iterations: a whole number is needed, this is the text '1_000'\n"
            "hint: write it in decimal digits: 1000",
        ),
        mine("ipc: !!int 0o10\n", "error: mine.yaml:1: ipc: this is no value: '0o10' is no decimal number"),
        override(
            "dataset.imbalance_factor=0b1010",
            "error: --set: dataset.imbalance_factor: a number or natural is needed, this is the text '0b1010'\n"
            "hint: write it in decimal digits: 10",
        ),
        mine(
            "seed: 2026-11-28\n",
            "error: mine.yaml:1: seed: a whole number is needed, this is the text '2026-11-28'\n"
            "hint: the one seed; every stage draws its own generator from it",
        ),
        mine(
            "method: off\n",
            "error: mine.yaml:1: method: 'off' is not known; known: ltdd, dam, ed, datm, mtt, random\n"
            "hint: ltdd, one of its ablations (dam, ed) or a baseline",
        ),
        mine(
            "<<: {ipc: 3}\n",
            "error: mine.yaml:1: <<: there is no such setting\n"
            "hint: `ltdd-tui presets show quickstart` shows all settings",
        ),
    ],
    "Settings: values that do not fit each other": [
        override(
            "dataset.whitening=published",
            "error: --set: dataset.whitening: published takes the mean and std of CIFAR-10's three channels,"
            " dataset.name digits has 1\nhint: use corrected",
        ),
        override(
            "dataset.class_order=text",
            "error: --set: dataset.class_order: text sorts the classes of dataset.name tiny-imagenet alone, this is"
            " digits\nhint: use label, or count",
        ),
    ],
    "Settings: values that do not fit together": [
        override(
            "experts.depth=4",
            "error: --set: experts.depth: 4 blocks (experts.depth) halve images of 8 pixels (dataset.name,"
            " dataset.resolution) to nothing\n"
            "hint: experts.depth at most 3, or raise dataset.resolution",
        ),
        mine(
            "extends: quickstart\nexperts:\n  epochs: 10\n",
            "error: mine.yaml:3: experts.epochs: matching.max_start_epoch 20 + matching.expert_epochs 2 reaches past"
            " experts.epochs 10\n"
            "hint: change one of them",
        ),
        override(
            "matching.sequential_from=30",
            "error: --set: matching.sequential_from: matching.sequential_from 30 lies above matching.max_start_epoch"
            " 20\n"
            "hint: the bound of start epochs grows: lower it, or leave it empty",
        ),
    ],
    "Settings: keys and files": [
        mine(
            "matching:\n  imag_lr: 3.0\n",
            "error: mine.yaml:2: matching.imag_lr: there is no such setting\nhint: did you mean matching.image_lr?",
        ),
        mine(
            "ipc: 3\nseed: 1\nipc: 4\n",
            "error: mine.yaml:3: ipc: this key stands here a second time, first in line 1\nhint: keep one of the two",
        ),
        mine(
            "extends: quickstrt\n",
            "error: mine.yaml:1: extends: there is no preset 'quickstrt'\nhint: did you mean quickstart?",
        ),
        mine(b"\xff\xfe\x00", "error: mine.yaml: cannot be read: it is not UTF-8 text"),
        mine(
            "ipc: *one\n",
            "error: mine.yaml:1: aliases (*name) are not taken\nhint: write it out, or share settings with `extends`",
        ),
        override("matching", "error: --set: 'matching' is no KEY=VALUE\nhint: for example: matching.iterations=500"),
    ],
    "Paths": [
        BadInput(
            "ltdd-tui run quickstart --dry-run --json --set dataset.name=folder --set \"dataset.path='file:///no/such'\"",
            "error: dataset.path 'file:///no/such': there is no such folder\nhint: give the folder that holds the data",
        ),
        BadInput(
            "ltdd-tui runs --runs-dir mine.yaml",
            "error: mine.yaml: this is a file, and no folder that holds runs\n"
            "hint: --runs-dir or LTDD_RUNS_DIR names another place",
            files={"mine.yaml": ""},
        ),
    ],
    "Damaged runs": [
        BadInput(
            "ltdd-tui watch old",
            "warning: a line that is no event was skipped\nhint: a crash may have cut it short\n"
            "error: runs/old/events.jsonl: 13 bytes hold no start of a run\nhint: its file of events is damaged",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/events.jsonl": b"\x00\xff no events\n"},
        ),
        BadInput(
            "ltdd-tui show old",
            "error: runs/old/result/metrics.json: the metrics hold no final figures\n"
            "hint: `ltdd-tui resume old` writes them anew",
            files={"runs/old/config.yaml": "ipc: 1\n", "runs/old/result/metrics.json": "{}"},
        ),
        BadInput(
            "ltdd-tui export old",
            "error: runs/old: the run has no result yet\nhint: `ltdd-tui resume old` finishes it",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
        BadInput(
            "python -m engine run runs/old",
            "error: runs/old/config.yaml:1: ipc: must be >= 1, this is 0\nhint: synthetic images per class (IPC)",
            files={"runs/old/config.yaml": "ipc: 0\n"},
        ),
        BadInput(
            "ltdd-tui stop old",
            "error: runs/old: no worker is at work on this run\nhint: `ltdd-tui runs` lists those that run",
            files={"runs/old/config.yaml": "ipc: 1\n"},
        ),
    ],
    "Runs and presets": [
        BadInput(
            "ltdd-tui presets check quickstat", "error: there is no preset 'quickstat'\nhint: did you mean quickstart?"
        ),
        BadInput(
            "ltdd-tui show nothing",
            "error: runs: there is no run 'nothing'\nhint: `ltdd-tui runs` lists them; --runs-dir looks elsewhere",
        ),
        BadInput(
            "ltdd-tui run quickstart --name a/b",
            "error: --name: 'a/b' cannot be a run's name\n"
            "hint: a plain name such as cifar10-ipc10; --runs-dir says where it lies",
        ),
    ],
}
