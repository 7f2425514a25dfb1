"""What checksums cost: python -m benchmarks.checksums [--dry]

In a whole quickstart with an empty cache, in this process: the seconds in the functions that make and compare them, the
JSON that those write and read included, of all of the run's. And how long it takes to verify a cache of 100 experts,
2.9 GB, from memory. Writes checksums.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.run import checksums

RESULT = Path(__file__).parent / "results" / "checksums.json"
FUNCTIONS = ("sealed_safetensors", "sealed_json", "verified", "verify_stream", "sealed_line", "parsed_line")
DRY = ["matching.iterations=4", "evaluate.every=4", "evaluate.epochs=5", "experts.num_experts=2"]
EXPERTS, EXPERT_BYTES = 100, 29_000_000
ROUNDS = 3


class Counted:
    """Calls and seconds of functions, as long as the program runs."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which counts from now on."""

        @functools.wraps(function)
        def counting(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - began

        return counting


def main() -> None:
    """Measures both, prints and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="everything tiny, to see that it runs")
    parser.add_argument("--results", type=Path, default=RESULT)
    options = parser.parse_args()
    counted = Counted()
    # Before anything else is imported, as others take these functions by name.
    for name in FUNCTIONS:
        setattr(checksums, name, counted.timed(getattr(checksums, name)))
    with tempfile.TemporaryDirectory() as place:
        seconds = _quickstart(Path(place), DRY if options.dry else [])
        in_run = {"seconds": round(seconds, 1), "calls": counted.calls, "of_checksums": round(counted.seconds, 3)}
        in_run["percent"] = round(100 * counted.seconds / seconds, 3)
        of_cache = _cache(Path(place) / "experts", 2 if options.dry else EXPERTS)
    from benchmarks.record import write_figures

    figures = {"quickstart": in_run, "experts": of_cache}
    threads = os.environ.get("OMP_NUM_THREADS", os.cpu_count())
    write_figures(options.results, "python -m benchmarks.checksums", threads=threads, figures=figures)
    print(json.dumps(figures, indent=1))


def _quickstart(place: Path, changes: list[str]) -> float:
    """The seconds of a worker's whole quickstart, which has an empty cache."""
    os.environ["LTDD_CACHE"] = str(place / "cache")
    from engine.__main__ import main as work
    from engine.run.folder import RunFolder
    from engine.run.presets import dump, load_preset

    folder = RunFolder(place / "run")
    folder.root.mkdir()
    folder.config.write_text(dump(load_preset("quickstart", changes)))
    began = time.monotonic()
    if work(["run", str(folder.root), "--device", "cpu"]):
        raise SystemExit("error: the run failed")
    return time.monotonic() - began


def _cache(place: Path, count: int) -> dict[str, float]:
    """The seconds in which so many experts are verified, the fastest of some rounds: the disk has no part in it."""
    import torch
    from safetensors.torch import save

    from engine.run.folder import verify_file

    place.mkdir()
    paths = [place / f"{number:04d}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        weights = torch.rand(EXPERT_BYTES // 4, generator=torch.Generator().manual_seed(number))
        path.write_bytes(checksums.sealed_safetensors(save({"weights": weights})))
    rounds = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        assert all([*map(verify_file, paths)])
        rounds.append(time.monotonic() - began)
    size = sum(path.stat().st_size for path in paths)
    return {"experts": count, "bytes": size, "seconds": round(min(rounds), 2)}


if __name__ == "__main__":
    main()
