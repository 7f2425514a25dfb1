"""Experts and networks of the teacher that are made one by one have the bytes of those that a run makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import parallel, pipeline
from engine.run.events import Event, ExpertDone
from tests.engine.tiny_run import CPU, tiny_context, tiny_settings


def files_in(cache: Path) -> dict[Path, bytes]:
    return {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*.safetensors")}


def test_experts_and_networks_made_one_by_one_are_those_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = {"kind": "balanced_softmax", "networks": 2, "epochs": 1}
    settings = tiny_settings(teacher=teacher, evaluate={"labels": ["online"], "epochs": 1}, compile="never")
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "whole"))
    pipeline.prepare(tiny_context(tmp_path / "run", settings))

    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "parts"))
    for number in (1, 0):
        parallel.make_experts(settings, CPU, [number])
        parallel.make_teacher_network(settings, CPU, number)
    made = files_in(tmp_path / "parts")
    assert made == files_in(tmp_path / "whole") and len(made) == 6
    events = list[Event]()
    pipeline.prepare(tiny_context(tmp_path / "again", settings, events))
    assert [event.cached for event in events if isinstance(event, ExpertDone)] == [True] * 6
