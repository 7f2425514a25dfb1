"""Workers at once on one machine: python -m benchmarks.company [--rounds 5]

A round is one, two and three workers at once that each do a short quickstart whose experts are cached, on as many cores
as one has threads. They take turns at the cores (engine/cores.py); the plain form is one worker, and in the first round
two, as before there were turns. A round begins when the rest of the machine is quiet, and says how busy it was.
Writes company.json after each round and goes on from there: seconds of each worker.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import parser
from engine.manifest import commit, device_name, versions
from engine.run.folder import RunFolder, read_json, write_json
from engine.run.presets import dump, load_preset

SHORT = ["matching.iterations=30", "evaluate.every=30", "evaluate.repeats=2", "evaluate.check_repeats=1"]
DRY = ["matching.iterations=1", "evaluate.every=1", "evaluate.epochs=2", "experts.num_experts=2", "experts.epochs=24"]
LONGEST_SECONDS = 180.0
"""Workers that take longer are ended: their seconds are a lower bound."""
QUIET_CORES, QUIET_SECONDS = 0.1, 3.0


def main() -> None:
    """Runs the rounds, prints a line for each, and writes the record."""
    options = parser(__doc__, rounds=5).parse_args()
    file = options.results / "company.json"
    record: dict[str, Any] = read_json(file) or {"name": "company", "command": "python -m benchmarks.company"}
    rounds: list[dict[str, Any]] = record.get("rounds", [])
    with tempfile.TemporaryDirectory(prefix="ltdd-company-") as place:
        workers = Workers(Path(place), SHORT + (DRY if options.dry else []), options.threads)
        workers.fill_cache()
        while len(rounds) < options.rounds:
            one = {"plain_1": workers.seconds(1, turns=False)}
            one |= {f"turns_{count}": workers.seconds(count, turns=True) for count in (1, 2, 3)}
            if not rounds:
                one["plain_2"] = workers.seconds(2, turns=False)
            rounds.append(one | {"cores_of_others": workers.busiest_others()})
            print(json.dumps(rounds[-1]), flush=True)
            made_with = {"device": device_name(torch.device("cpu")), "versions": versions(), "commit": commit()}
            figures = {"threads": options.threads, "cores": os.cpu_count(), "n": len(rounds)} | ratios(rounds)
            write_json(file, record | made_with | figures | {"rounds": rounds})
    print(json.dumps(ratios(rounds)))


def ratios(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as long as one alone of the same round the slowest worker takes; medians over the rounds."""

    def median(form: str, other: str) -> float:
        times: list[float] = [max(one[form]) / max(one[other]) for one in rounds if form in one]
        return round(statistics.median(times), 3)

    return {
        "alone_against_plain": median("turns_1", "plain_1"),
        "two_against_alone": median("turns_2", "turns_1"),
        "three_against_alone": median("turns_3", "turns_1"),
        "plain_two_against_alone": median("plain_2", "plain_1"),
    }


class Workers:
    """Starts workers on the same cores, each with a run and a copy of one cache of its own."""

    def __init__(self, place: Path, changes: list[str], threads: int) -> None:
        self._place, self._config, self._threads = place, dump(load_preset("quickstart", changes)), threads
        self._cache, self._others = place / "cache", list[float]()

    def fill_cache(self) -> None:
        """Trains the experts, with what is compiled for this machine."""
        self._wait_for(time.monotonic(), [self._start(self._cache, self._place)], float("inf"))

    def seconds(self, count: int, turns: bool) -> list[float]:
        """Seconds of each of so many workers at once."""
        wait_until_quiet()
        folders = [Path(tempfile.mkdtemp(dir=self._place)) for _ in range(count)]
        caches = [shutil.copytree(self._cache, folder / "cache") for folder in folders]
        before, began = CpuTimes(), time.monotonic()
        # Workers with temporary folders of their own do not know of each other.
        places = [self._place if turns else folder for folder in folders]
        processes = [self._start(cache, place) for cache, place in zip(caches, places, strict=True)]
        took = self._wait_for(began, processes, LONGEST_SECONDS)
        self._others.append(CpuTimes().cores_of_others(before))
        return took

    def busiest_others(self) -> float:
        """The most cores that other programs took during a measurement since the last call."""
        most, self._others = max(self._others), []
        return round(most, 2)

    def _start(self, cache: Path, temporary: Path) -> subprocess.Popen[bytes]:
        folder = RunFolder(Path(tempfile.mkdtemp(dir=self._place)))
        folder.config.write_text(self._config)
        places = {"LTDD_CACHE": str(cache), "TMPDIR": str(temporary), "OMP_NUM_THREADS": str(self._threads)}
        command = [sys.executable, "-m", "engine", "run", str(folder.root), "--device", "cpu"]
        return subprocess.Popen(command, env=os.environ | places, preexec_fn=self._on_as_many_cores)

    def _on_as_many_cores(self) -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self._threads])

    def _wait_for(self, began: float, processes: list[subprocess.Popen[bytes]], longest: float) -> list[float]:
        took: dict[int, float] = {}
        while len(took) < len(processes) and time.monotonic() - began < longest:
            time.sleep(0.02)
            for number, process in enumerate(processes):
                if number not in took and process.poll() is not None:
                    assert process.returncode == 0, process.args
                    took[number] = time.monotonic() - began
        for process in processes:
            process.kill()
            process.wait()
        return [round(took.get(number, longest), 2) for number in range(len(processes))]


class CpuTimes:
    """CPU seconds up to now: of the machine, and of this program with the workers that it has waited for."""

    def __init__(self) -> None:
        self.at, self.own = time.monotonic(), sum(os.times()[:4])
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        idle, io_wait, stolen = ticks[3], ticks[4], ticks[7]
        self.machine: float = (sum(ticks) - idle - io_wait - stolen) / os.sysconf("SC_CLK_TCK")

    def cores_of_others(self, before: CpuTimes) -> float:
        """How many cores other programs took since then."""
        others = (self.machine - before.machine) - (self.own - before.own)
        return others / (self.at - before.at)


def wait_until_quiet() -> None:
    """Returns once other programs take next to nothing of the machine."""
    while True:
        before = CpuTimes()
        time.sleep(QUIET_SECONDS)
        if CpuTimes().cores_of_others(before) < QUIET_CORES:
            return


if __name__ == "__main__":
    main()
