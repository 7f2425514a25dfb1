"""The long robustness suite: python -m benchmarks.robustness [--parts kills,faults] [--count 20] [--jobs 2]

kills: runs that are killed at random moments and resumed. faults: runs whose n-th write fails, then resumed.
damages: one file of a run or of the cache is damaged, then it is read, resumed, evaluated or exported.
flips: one bit of such a file is another one, and `verify` or `cache verify` has to name the file.
events, presets, images: mutated files that are read. Nothing may hang, end in a traceback, show a wrong figure or
give other bytes than an undisturbed run.

Cases follow from --seed and their number; a suite that was interrupted goes on where it was with the same --work.
Writes robustness.json: counts by outcome, and what reproduces each failure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.record import write_figures
from benchmarks.robustness.damage import Damaged
from benchmarks.robustness.inputs import BATCH, READERS, Mutated
from benchmarks.robustness.processes import Forks
from benchmarks.robustness.runs import GOOD, METHODS, Interrupted, Outcome
from engine.manifest import commit

RESULT = Path(__file__).parents[1] / "results" / "robustness.json"
COUNTS = {
    "kills": 200,
    "faults": 300,
    "damages": 1000,
    "flips": 200,
    "events": 10_000,
    "presets": 2_000,
    "images": 1_000,
}
FAILURES_KEPT = 50
Cases = Callable[[Sequence[int]], list[Outcome]]
"""The outcomes of the cases with these numbers."""


def main() -> None:
    """Runs the parts that are asked for; exits with 1 where a case failed."""
    options = _parser().parse_args()
    parts = [*COUNTS] if options.parts is None else options.parts.split(",")
    work = options.work or Path(tempfile.mkdtemp(prefix="robustness-"))
    work.mkdir(parents=True, exist_ok=True)
    forks = Forks(work)
    records = {}
    interrupted = cache(lambda: Interrupted(forks, work, options.seed, options.methods.split(",")))
    damaged = cache(lambda: Damaged(forks, work, options.seed))
    for part in parts:
        batch = BATCH if part in READERS else 1
        cases = _cases(part, forks, work, options.seed, interrupted, damaged)
        numbers = options.numbers or range(options.count or COUNTS[part])
        records[part] = run_part(part, cases, batch, numbers, work / f"{part}-{options.seed}.jsonl", options.jobs)
        print(table(part, records[part]), flush=True)
    if not options.numbers:
        write(options.results, records, options)
    if not options.work:
        shutil.rmtree(work)
    raise SystemExit(any(own["failures"] for own in records.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", help=f"some of {','.join(COUNTS)}; all if left out")
    parser.add_argument("--count", type=int, help=f"cases of each part, otherwise {COUNTS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="cases at once")
    parser.add_argument("--methods", default=",".join(METHODS), help="of the runs that are interrupted")
    parser.add_argument("--numbers", type=lambda text: [*map(int, text.split(","))], help="these cases alone")
    parser.add_argument("--work", type=Path, help="folder of the cases; the same one goes on where it was")
    parser.add_argument("--results", type=Path, default=RESULT)
    return parser


def _cases(
    part: str,
    forks: Forks,
    work: Path,
    seed: int,
    interrupted: Callable[[], Interrupted],
    damaged: Callable[[], Damaged],
) -> Cases:
    if part in READERS:
        return Mutated(forks, work, part, seed).cases
    if part in ("damages", "flips"):
        case = damaged().case if part == "damages" else damaged().flip
    else:
        case = interrupted().kill if part == "kills" else interrupted().fault
    return lambda numbers: [*map(case, numbers)]


def run_part(part: str, cases: Cases, batch: int, numbers: Sequence[int], log: Path, jobs: int) -> dict[str, Any]:
    """Does the cases that `log` does not hold, a line each, and returns the part's figures."""
    done, seconds = dict[int, Outcome](), dict[int, float]()
    for line in log.read_text().splitlines() if log.exists() else ():
        number, seconds[number], *outcome = json.loads(line)
        done[number] = Outcome(*outcome)

    def timed(numbers: Sequence[int]) -> tuple[list[Outcome], float]:
        began = time.monotonic()
        return cases(numbers), (time.monotonic() - began) / len(numbers)

    left = [number for number in numbers if number not in done]
    batches = [left[start : start + batch] for start in range(0, len(left), batch)]
    with ThreadPoolExecutor(jobs) as pool, open(log, "a", buffering=1) as file:
        for own, (outcomes, of_each) in zip(batches, pool.map(timed, batches), strict=True):
            for number, outcome in zip(own, outcomes, strict=True):
                done[number], seconds[number] = outcome, of_each
                line = [number, round(of_each, 4), outcome.outcome, outcome.case, outcome.detail]
                file.write(json.dumps(line) + "\n")
                if outcome.outcome not in GOOD:
                    print(
                        f"{part} {number}: {outcome.outcome}: {outcome.case}\n    {outcome.detail[-300:]}", flush=True
                    )
    asked = {number: done[number] for number in numbers}
    bad = {number: own for number, own in asked.items() if own.outcome not in GOOD}
    return {
        "cases": len(asked),
        # Of all cases one after another, also of those that an earlier call has done.
        "seconds": round(sum(seconds[number] for number in asked), 1),
        "outcomes": dict(Counter(own.outcome for own in asked.values()).most_common()),
        "failed": len(bad),
        "failures": [[number, own.outcome, own.case] for number, own in bad.items()][:FAILURES_KEPT],
    }


def table(part: str, record: dict[str, Any]) -> str:
    """The outcomes of a part, a line each."""
    lines = [f"{part}: {record['cases']:,} cases in {record['seconds']:,.0f} s, {record['failed']} failed"]
    return "\n".join(lines + [f"  {count:6,}  {outcome}" for outcome, count in record["outcomes"].items()])


def write(path: Path, records: dict[str, Any], options: argparse.Namespace) -> None:
    """Writes the figures, with those of parts that were not asked for as they were."""
    before = json.loads(path.read_text())["parts"] if path.exists() else {}
    conditions = {"seed": options.seed, "jobs": options.jobs, "commit": commit()}
    parts = before | {part: conditions | own for part, own in records.items()}
    write_figures(path, "python -m benchmarks.robustness", parts=parts)


if __name__ == "__main__":
    main()
