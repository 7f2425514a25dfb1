"""The options of a cluster, the driver's lines, and the table of nodes; Ray itself is not needed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from engine.run.errors import InputError
from engine.run.folder import write_atomically
from engine.sweep.cells import SweepFolder
from ltdd_tui.cli import cluster, main
from ltdd_tui.runs import worker


@pytest.mark.parametrize("command", ["sweep digits", "doctor"])
def test_without_ray_one_line_says_how_to_install_it_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["ltdd-tui", *command.split(), "--cluster", "auto", "--runs-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    told = "error: --cluster: Ray is not installed\nhint: pip install 'ltdd-tui[ray]'\n"
    assert ended.value.code == 2 and capsys.readouterr().err == told and not list(tmp_path.iterdir())


def test_the_drivers_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: ModuleSpec(name, None))
    assert cluster.driver_options(None, None, 1) == []
    wanted = ["--address", "ray://head:10001", "--threads", "4", "--ranks", "2"]
    assert cluster.driver_options("ray://head:10001", 4, 2) == wanted
    with pytest.raises(InputError, match="--ranks: it is an option of a cluster"):
        cluster.driver_options(None, None, 2)


def test_whole_lines_of_the_driver_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = SweepFolder(tmp_path)
    lines = cluster.DriverLines(folder)
    told = []
    for text in ("2 nodes\nltdd: runn", "2 nodes\nltdd: running on 10.0.0.2\nerror: no\nhint: yes\n"):
        write_atomically(folder.console, text)
        lines.tell()
        told.append(capsys.readouterr().err)
    assert told == ["2 nodes\n", "ltdd: running on 10.0.0.2\n"], "its errors are printed when it has ended"


def test_doctor_shows_what_of_the_nodes_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    node = {"cpus": 8.0, "gpus": 1.0, "processor": "EPYC, AVX2", "cache": "/home/a/.cache/ltdd-tui"}
    fault = "error: node 10.0.0.3: other versions: torch 2.11.0, here 2.14.1\nhint: install the same on all machines"
    nodes = [
        {**node, "address": "10.0.0.2", "sees": ["/runs", "/cache"], "faults": []},
        {**node, "address": "10.0.0.3", "sees": [], "faults": [fault], "processor": "Xeon, AVX512"},
    ]
    cluster.print_nodes({"here": {"torch": "2.14.1"}, "folders": ["/runs", "/cache"], "nodes": nodes})
    printed = capsys.readouterr()
    rows = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert any(row.startswith("10.0.0.2 8 1 EPYC, AVX2 shared yes") for row in rows)
    whole = " ".join(printed.out.split())
    assert "sent; cache" in whole and "torch 2.11.0" in whole and "the processors differ" in printed.err


def test_the_drivers_error_is_the_commands_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: ModuleSpec(name, None))
    told = "noise\\nerror: auto: there is no Ray cluster\\nhint: start one"
    command = (sys.executable, "-c", f"import sys; print('{told}', file=sys.stderr); sys.exit(2)")
    monkeypatch.setattr(worker, "NODES_COMMAND", command)
    with pytest.raises(InputError) as refused:
        cluster.cluster_facts("auto", tmp_path)
    assert str(refused.value) == "error: auto: there is no Ray cluster\nhint: start one"
