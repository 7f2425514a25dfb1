"""A gang of two processes gives the bytes of one process that averages both trajectories; its members fail clearly."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import distributed, parallel, pipeline
from engine.checkpoints import load_state
from engine.context import Context
from engine.distributed import ALONE, Gang, joined
from engine.manifest import versions
from engine.run.errors import InputError, Stopped
from engine.run.events import Event, MatchingStep
from engine.stages import distill
from tests.engine.tiny_run import CPU, tiny_context, tiny_settings

OWN = {
    "matching": {"iterations": 4, "max_start_epoch": 1, "syn_steps": 2, "syn_steps_cls": 2, "trajectories": 2},
    "evaluate": {"every": 9, "repeats": 1, "check_repeats": 1, "epochs": 1},
    "compile": "never",
}


def finished(root: Path, gang: Gang = ALONE, stop_after: int = 99) -> tuple[bytes, list[float]]:
    """The bytes of the distilled set of a run to its end, and its matching losses; may raise Stopped."""
    events = list[Event]()

    def check_stop() -> None:
        if any(isinstance(event, MatchingStep) and event.iteration == stop_after for event in events):
            raise Stopped("stopped")

    context = replace(tiny_context(root, tiny_settings(**OWN), events), check_stop=check_stop, gang=gang)
    pipeline.run(context)
    return context.folder.distilled.read_bytes(), [one.loss_rep for one in events if isinstance(one, MatchingStep)]


@pytest.fixture
def as_rank_0(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Makes this process rank 0 of 2; returns the environment of rank 1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    for name, value in (place | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    return os.environ | place | {"RANK": "1", "OMP_NUM_THREADS": str(torch.get_num_threads())}


def test_a_gang_that_is_stopped_and_resumed_alone_gives_the_bytes_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_rank_0: dict[str, str]
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "engine", "run", "nowhere", "--device", "cpu"]
    rank_1 = subprocess.Popen(command, env=as_rank_0 | {"LTDD_CACHE": str(tmp_path / "cache")})
    with pytest.raises(Stopped), joined() as gang:
        finished(tmp_path / "gang", gang, stop_after=2)
    assert rank_1.wait(20) == 0, "the other rank ends without an error when rank 0 stops"
    state = load_state(tiny_context(tmp_path / "gang", tiny_settings(**OWN)).folder, CPU, lambda event: None)
    assert state is not None and state.iteration == 2
    resumed, _ = finished(tmp_path / "gang")
    alone, losses = finished(tmp_path / "alone")
    assert resumed == alone and len(losses) == 4


def test_an_iteration_is_the_mean_of_trajectories_that_are_drawn_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    seen = list[float]()
    of_one = distill._own_gradients

    def remember(context: Context, *arguments: object) -> list:
        results = of_one(context, *arguments)  # type: ignore[arg-type]
        seen.extend(float(result.loss_rep) for result in results)
        return results

    monkeypatch.setattr(distill, "_own_gradients", remember)
    _, losses = finished(tmp_path / "two")
    assert len(seen) == 8 and len(set(seen)) == 8, "no trajectory is drawn twice"
    assert losses == pytest.approx([(a + b) / 2 for a, b in zip(seen[::2], seen[1::2], strict=True)], rel=1e-6)
    first = json.loads(json.dumps(OWN))
    first["matching"]["trajectories"] = 1
    events = list[Event]()
    pipeline.run(tiny_context(tmp_path / "one", tiny_settings(**first), events))
    assert next(one.loss_rep for one in events if isinstance(one, MatchingStep)) == pytest.approx(seen[0])


@pytest.mark.parametrize(("size", "method", "of"), [(2, "ltdd", ""), (3, "ltdd", "3 .* 2"), (2, "dm", "2 .* 1")])
def test_ranks_share_equally_or_are_refused(size: int, method: str, of: str) -> None:
    trajectories = tiny_settings(method, **OWN).trajectories
    if of:
        with pytest.raises(InputError, match=of.replace(".*", "ranks cannot share an iteration of") + " trajectories"):
            Gang(0, size).refuse_unequal_shares(trajectories)
    else:
        Gang(0, size).refuse_unequal_shares(trajectories)
        assert [list(Gang(rank, size).share(6)) for rank in range(size)] == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("torch_of_rank_0", ["1.0", None])
def test_a_rank_of_another_version_says_so(monkeypatch: pytest.MonkeyPatch, torch_of_rank_0: str | None) -> None:
    theirs = versions() | {"torch": torch_of_rank_0}
    order = json.dumps({"versions": theirs}).encode() if torch_of_rank_0 else b""
    monkeypatch.setattr(Gang, "receive", lambda self: order)
    if torch_of_rank_0:
        with pytest.raises(InputError, match=r"rank 1 of 2: rank 0 has other versions: torch 1\.0 \(here "):
            parallel.assist(Gang(1, 2), CPU)
    else:
        parallel.assist(Gang(1, 2), CPU)  # the run was over before there was anything to share


def test_the_end_of_another_rank_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("Connection closed by peer [10.0.0.2]\nmore")

    monkeypatch.setattr(distributed.dist, "broadcast", closed)
    with pytest.raises(Exception, match=r"rank 0 of 2: another rank of the gang has ended: Connection closed by peer"):
        Gang(0, 2).send(b"work")
