"""The table of benchmarks/gpu.sh: what was claimed and what came out, as Markdown and as JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.run.folder import RunFolder, read_json, write_atomically, write_json


class Row(NamedTuple):
    """A figure: `wanted` in words, `holds` where it can be judged."""

    what: str
    measured: str
    wanted: str = ""
    holds: bool | None = None
    note: str = ""


def write_table(folder: Path, dry: bool) -> str:
    """Writes table.md and table.json into the folder; returns the Markdown."""
    rows = [*_tests(folder), *_benchmarks(folder), *_cell(folder), *_memory(folder)]
    rows += [Row(path.stem, "failed", holds=False, note=f"{path.stem}.log") for path in sorted(folder.glob("*.failed"))]
    lines = ["| what | measured | wanted | holds | note |", "| --- | --- | --- | --- | --- |"]
    words = {None: "", True: "yes", False: "no"}
    lines += [f"| {row.what} | {row.measured} | {row.wanted} | {words[row.holds]} | {row.note} |" for row in rows]
    machine = _machine(folder) + (", a dry run: it shows that the parts work, its figures say nothing" if dry else "")
    text = "\n".join([f"On {machine}.", "", *lines]) + "\n"
    write_atomically(folder / "table.md", text)
    write_json(folder / "table.json", {"machine": machine, "dry": dry, "rows": [row._asdict() for row in rows]})
    return text


def _machine(folder: Path) -> str:
    runs = (RunFolder(folder / "runs" / name) for name in ("cell", "memory"))
    manifest = next((written for run in runs if (written := read_json(run.manifest))), {})
    torch = manifest.get("versions", {}).get("torch", "?")
    return f"{manifest.get('device_name', 'an unknown device')}, torch {torch}, commit {manifest.get('commit') or '?'}"


def _tests(folder: Path) -> Iterator[Row]:
    if not (folder / "tests.xml").exists():
        return
    suite = next(ET.parse(folder / "tests.xml").getroot().iter("testsuite"))
    total, bad, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
    bad += int(suite.get("errors", 0))
    passed = total - bad - skipped
    yield Row(
        "tests marked cuda", f"{passed} passed, {bad} failed, {skipped} skipped", "none fails", passed > 0 and bad == 0
    )


def _benchmarks(folder: Path) -> Iterator[Row]:
    for path in sorted((folder / "results").glob("*.json")):
        record = read_json(path) or {}
        if "ratio" not in record:
            continue
        wanted = 20.0 if path.stem in ("iteration-tf32", "iteration-bf16") else None
        shares = ", ".join(f"{share:.0%} of {name}" for name, share in (record.get("ceiling_share") or {}).items())
        yield Row(
            path.stem,
            f"{record['ratio']:.1f}x: plain {record['plain_seconds']:.3g} s, fast {record['fast_seconds']:.3g} s",
            f"{wanted:.0f}x or more" if wanted else "",
            record["ratio"] >= wanted if wanted else None,
            f"n = {record.get('n')}, {shares}",
        )


def _cell(folder: Path) -> Iterator[Row]:
    metrics = _metrics(folder, "cell")
    if metrics is None:
        return
    seconds = metrics["stage_seconds"]
    minutes, images = sum(seconds.values()) / 60, (read_json(folder / "cifar10.json") or {}).get("images", "?")
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if value >= 1)
    yield Row(
        "CIFAR-10-LT IF 100 IPC 10, data to report", f"{minutes:.1f} min", "15 min or less", minutes <= 15, stages
    )
    final, expected = metrics["final"], metrics.get("expected") or {}
    accuracy = f"{final['accuracy_mean']:.1f} +- {final['accuracy_std']:.1f} % (n = {final['repeats']})"
    yield Row("its final accuracy", accuracy, f"published {expected.get('accuracy', '?')}", note=images)
    yield Row("its memory", f"{metrics['memory_gib']:.2f} GiB")


def _memory(folder: Path) -> Iterator[Row]:
    metrics = _metrics(folder, "memory")
    if metrics is not None:
        images = (read_json(folder / "cifar100.json") or {}).get("images", "?")
        gib = metrics["memory_gib"]
        yield Row("memory of CIFAR-100-LT at IPC 50", f"{gib:.2f} GiB", "3 GB or less", gib * 2**30 <= 3e9, images)


def _metrics(folder: Path, name: str) -> dict[str, Any] | None:
    metrics: dict[str, Any] | None = read_json(RunFolder(folder / "runs" / name).metrics)
    return metrics
