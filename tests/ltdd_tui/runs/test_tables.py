"""Runs as Markdown and CSV: what is copied can be pasted, whatever a run is called."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from engine.run.folder import RunFolder
from ltdd_tui.runs.comparison import compared_runs, comparison_as
from ltdd_tui.runs.index import Overview
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.tables import Table, runs_as
from tests.ltdd_tui.conftest import Done
from tests.ltdd_tui.recorded import record

RUN = Overview(
    'a|b,"c"', "done", None, "cifar10", 100.0, 10, "ltdd", 52.925, 0.41, seed=3, tags=("x", "y"), note="one\ntwo"
)


def test_markdown_has_figures_as_they_are_read_and_one_line_a_run() -> None:
    head, ruler, row = runs_as("markdown", [RUN]).splitlines()
    assert head.startswith("| run | state | data set | IF | IPC | method | seed | accuracy % |")
    assert ruler == "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | --- | --- |"
    assert row == '| a\\|b,"c" | done | cifar10 | 100 | 10 | ltdd | 3 | 52.9 ± 0.4 | x y | one two |'


def test_csv_has_all_digits_and_is_read_back() -> None:
    (row,) = csv.DictReader(io.StringIO(runs_as("csv", [RUN])))
    assert (row["name"], row["accuracy_mean"], row["note"], row["tags"]) == (RUN.name, "52.925", "one\ntwo", "x y")
    assert runs_as("csv", []).count("\n") == 1 and Table(("a",), ()).as_markdown() == "| a |\n| --- |\n"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, ...]:
    root = tmp_path_factory.mktemp("compared")
    return record(root / "one", "done", 20), record(root / "two", "stopped", 20)


def test_a_comparison_has_a_row_for_each_run_with_its_sets_groups_and_classes(compared: tuple[RunFolder, ...]) -> None:
    views = []
    for folder in compared:
        live = LiveRun(folder)
        while not live.read():
            pass
        views.append(live.view)
    runs = compared_runs(views)
    one, two = csv.DictReader(io.StringIO(comparison_as("csv", runs)))
    final = runs[0].rows["final"]
    assert float(one["final_mean"]) == final.accuracy_mean and float(one["final_std"]) == final.accuracy_std
    assert float(one["class:airplane"]) == final.per_class[0] and one["published"] == "53.4"
    assert two["run"] == "two" and float(two["many"]) == runs[1].rows["last check"].groups["many"]
    lines = comparison_as("markdown", runs).splitlines()
    assert len(lines) == 4 and lines[0].startswith("| run | final | best | start | random | many | medium | few |")
    assert len({line.count("|") for line in lines}) == 1


def test_the_command_prints_one_form(command: Callable[..., Done], make_run: Callable[..., object]) -> None:
    make_run()
    assert command("runs", "--csv").out.splitlines()[1].startswith("first,waiting,")
    assert command("runs", "--markdown").out.splitlines()[2].startswith("| first | waiting |")
    refused = command("runs", "--csv", "--json")
    assert refused.code == 2 and "only one of --json, --csv and --markdown" in refused.err
