"""What a cluster is refused for: each in one line, before anything runs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engine.cluster import nodes as cluster_nodes
from engine.cluster.nodes import Node, connected, is_marked, marked, refuse_unfit
from engine.run.errors import BAD_INPUT, DONE, InputError

HERE = {"ltdd-tui": "0.1.0", "torch": "2.14.1", "commit": "abc", "ray": "2.60.0"}


def node(**more: Any) -> Node:
    return Node("id", "10.0.0.2", **({"cpus": 4.0, "gpus": 0.0, "versions": HERE} | more))


@pytest.mark.parametrize(
    ("nodes", "room", "line"),
    [
        ([node()], (4, 0, 1), None),
        ([node(), node()], (2, 0, 4), None),
        ([node(gpus=2.0)], (2, 1, 2), None),
        (
            [node(versions=HERE | {"torch": "2.11.0"})],
            (1, 0, 1),
            "node 10.0.0.2: other versions: torch 2.11.0, here 2.14.1",
        ),
        ([node(versions=HERE | {"commit": "def"})], (1, 0, 1), "other versions: commit def, here abc"),
        ([node(problem="ltdd-tui is missing, or an older one", versions={})], (1, 0, 1), "ltdd-tui is missing"),
        ([node(lacks=["/data/birds"])], (1, 0, 1), "node 10.0.0.2: /data/birds is not there"),
        ([node()], (8, 0, 1), "room for 0 processes of 8 CPUs, 1 are needed at a time"),
        ([node(gpus=1.0)], (1, 1, 2), "room for 1 processes of 1 CPUs and 1 GPU, 2 are needed at a time"),
    ],
)
def test_nodes_that_do_not_fit_are_refused_with_the_reason(
    nodes: list[Node], room: tuple[int, int, int], line: str | None
) -> None:
    if line is None:
        refuse_unfit(nodes, HERE, *room)
        return
    with pytest.raises(InputError) as refused:
        refuse_unfit(nodes, HERE, *room)
    assert line in str(refused.value) and len(refused.value.faults) == 1 and refused.value.exit_code == BAD_INPUT


VERSIONS = "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.1\nThis process was ..."


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, "Ray is not installed"),
        (
            RuntimeError(VERSIONS),
            "the cluster has another version of Ray or Python: Version mismatch: The cluster was ",
        ),
        (ConnectionError("Could not find any running Ray instance.\nmore"), "there is no Ray cluster: Could not find"),
        (ConnectionError("Unauthenticated: InvalidAuthToken"), "the cluster asks for another token"),
        (ImportError("No module named 'grpc'"), "Ray's client is not installed: No module named 'grpc'"),
    ],
)
def test_without_a_connection_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, line: str
) -> None:
    def init(**_: object) -> None:
        assert error
        raise error

    fake = ModuleType("ray")
    vars(fake).update(init=init, exceptions=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray", fake if error else None)
    with pytest.raises(InputError) as refused, connected("auto"):
        pass
    assert str(refused.value).startswith("error: ") and line in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2, "what, and a hint"


def test_doctor_leaves_the_marks_of_a_sweep_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    asked = list[tuple[str, str]]()

    def ask_nodes(_ray: object, folders: list[Path], key: str, mark: str) -> list[Node]:
        asked.extend((key, mark) for folder in folders if is_marked(str(folder), key, mark))
        return []

    monkeypatch.setattr(cluster_nodes, "ask_nodes", ask_nodes)
    monkeypatch.setattr(cluster_nodes, "connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cluster_nodes, "versions_here", lambda _: HERE)
    monkeypatch.setattr(sys, "argv", ["nodes"])
    with marked([tmp_path], "digits") as mark, marked([tmp_path], "digits of another folder"):
        assert cluster_nodes.main() == DONE
        assert is_marked(str(tmp_path), "digits", mark) and len(asked) == 1 and asked[0][1] != mark
    assert not list(tmp_path.iterdir()), "each takes its own marks away"
