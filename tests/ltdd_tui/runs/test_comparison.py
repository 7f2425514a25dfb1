"""What runs have in common and what not, from runs as a worker leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from textual.content import Content

from engine.run.folder import RunFolder
from engine.run.presets import dump, load_preset
from ltdd_tui.report.accuracy import accuracy
from ltdd_tui.report.cells import report_cells
from ltdd_tui.runs.comparison import (
    ComparedRun,
    common_cell,
    compared_classes,
    compared_runs,
    differing_settings,
    group_lines,
    seed_means,
)
from ltdd_tui.runs.live import LiveRun
from ltdd_tui.runs.tables import Table
from ltdd_tui.screens.compare import panels
from tests.ltdd_tui.recorded import END, GROUPS, record


def varied(folder: RunFolder, *overrides: str, shift: float = 0.0, classes: Sequence[str] = ()) -> RunFolder:
    """Changes the run's settings, and what its final evaluation says."""
    folder.config.write_text(dump(load_preset(str(folder.config), list(overrides))))
    lines = [json.loads(line) for line in folder.events.read_text().splitlines()]
    for line in lines:
        if line["type"] == "evaluated" and line["subject"] == "final":
            line["accuracy_mean"] += shift
            line["per_class"] = [value + shift for value in line["per_class"]]
        if line["type"] == "data_ready" and classes:
            line["class_names"] = list(classes)
    folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def compared(*folders: RunFolder) -> list[ComparedRun]:
    runs = [LiveRun(folder) for folder in folders]
    for run in runs:
        while not run.read():
            pass
    return compared_runs([run.view for run in runs])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[ComparedRun]:
    root = tmp_path_factory.mktemp("runs")
    first = record(root / "first", "done", 20)
    second = varied(record(root / "second", "done", 20), "method=datm", "matching.image_lr=10.0", shift=2.0)
    return compared(first, second, record(root / "stopped", "stopped", 20))


def plain(lines: Sequence[Content]) -> list[str]:
    return [line.plain for line in lines]


def test_only_what_differs_is_a_difference(pair: list[ComparedRun]) -> None:
    differences = {difference.key: difference.values for difference in differing_settings(pair)}
    assert differences == {"method": ("ltdd", "datm", "ltdd"), "matching.image_lr": ("100", "10", "100")}


def test_runs_whose_settings_cannot_be_read_are_left_out_of_the_differences(tmp_path: Path) -> None:
    first, bad = (record(tmp_path / name, "stopped", 20) for name in ("first", "bad"))
    bad.config.write_text("method: [ltdd\n")
    runs = compared(first, bad)
    assert differing_settings(runs) == []
    assert (
        plain(panels.settings(panels.Comparison(runs, ["#ffffff"] * 2), [], 60))[0] == "B: config.yaml cannot be read"
    )


def test_classes_stand_head_to_tail_with_each_run_s_latest_accuracy(pair: list[ComparedRun]) -> None:
    lines = compared_classes(pair)
    assert [line.count for line in lines] == sorted((line.count for line in lines), reverse=True)
    assert lines[0].name == "airplane" and lines[0].values[:2] == (END[0], END[0] + 2)
    assert lines[-1].name == "truck" and lines[-1].values[2] == pair[2].rows["last check"].per_class[-1]


def test_classes_of_other_data_are_matched_by_name_and_not_by_place(tmp_path: Path) -> None:
    first, other = (record(tmp_path / name, "done", 20) for name in ("first", "other"))
    varied(other, classes=["truck", *(f"class {place}" for place in range(9))])
    lines = compared_classes(compared(first, other))
    by_name = {line.name: line.values for line in lines}
    assert by_name["airplane"] == (END[0], None)
    assert by_name["truck"] == (END[9], END[0])
    assert [line.name for line in lines[10:]] == [f"class {place}" for place in range(9)], "that only the other has"
    assert by_name["class 0"] == (None, END[1])


def test_names_of_wide_characters_take_the_cells_that_they_need(tmp_path: Path) -> None:
    name = "\u6f22\u5b57" * 3
    runs = compared(varied(record(tmp_path / name, "done", 20), classes=[name, *(str(place) for place in range(9))]))
    side_by_side = panels.Comparison(runs, ["#ffffff"])
    classes = panels.classes(side_by_side, compared_classes(runs), group_lines(runs), 80)
    figures = panels.figures(side_by_side, [], 120)
    assert name in plain(classes)[1] and name in plain(figures)[1]
    assert len({line.cell_length for line in classes if line}) == 1


def test_groups_and_all(pair: list[ComparedRun]) -> None:
    lines = {line.name: line.values for line in group_lines(pair)}
    assert list(lines) == ["many", "medium", "few", "all"]
    many = [value for value, group in zip(END, GROUPS, strict=True) if group == "many"]
    assert lines["many"][0] == pytest.approx(sum(many) / len(many))
    assert lines["all"][1] == pytest.approx(lines["all"][0] + 2)


def test_the_published_figure_and_the_way_to_it(pair: list[ComparedRun]) -> None:
    assert pair[0].published == 53.4 and pair[0].beyond_published == pytest.approx(52.93 - 53.4)
    assert pair[1].published is None, "another method is another cell"
    assert pair[2].published == 53.4 and pair[2].beyond_published is None, "it is not finished"


def test_seeds_are_averaged_only_where_nothing_else_differs(tmp_path: Path) -> None:
    folders = [record(tmp_path / f"seed {seed}", "done", 20) for seed in range(3)]
    for seed, folder in enumerate(folders):
        varied(folder, f"seed={seed}", shift=float(seed))
    other = varied(record(tmp_path / "other", "done", 20), "seed=7", "matching.image_lr=1.0")
    (mean,) = seed_means(compared(*folders, other))
    assert (mean.tags, mean.std) == ("ABC", pytest.approx(1.0))
    assert mean.mean == pytest.approx(52.93 + 1)
    again = record(tmp_path / "again", "done", 20)
    (same,) = seed_means(compared(*folders, again))
    assert (same.tags, same.mean) == ("ABCD", pytest.approx(mean.mean)), "a seed counts once"
    assert seed_means(compared(folders[0], again)) == []


def folds_of(root: Path, folds: Sequence[int], counts: Sequence[Sequence[int]], seed: int = 0) -> list[RunFolder]:
    """A finished run for each fold, with so many test images of each class; class c of fold f is at 8 (c + f) %."""
    runs = []
    for fold in folds:
        folder = record(root / f"seed {seed} fold {fold}", "done", 3)
        lines = [json.loads(line) for line in folder.events.read_text().splitlines()]
        for line in lines:
            if line["type"] == "data_ready":
                line["test_counts"] = list(counts[fold])
            if line["type"] == "evaluated":
                tested = zip(range(10), counts[fold], strict=True)
                line["per_class"] = [8.0 * (c + fold) if n else None for c, n in tested]
        folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
        # Not written by `varied`: the settings of the recording are of a set that has test images of its own.
        settings = load_preset(str(folder.config))
        dataset = settings.dataset.model_copy(update={"name": "folder", "test_folds": 3, "test_fold": fold})
        folder.config.write_text(dump(settings.model_copy(update={"dataset": dataset, "seed": seed})))
        runs.append(folder)
    return runs


def test_test_folds_are_pooled_over_all_their_images(tmp_path: Path) -> None:
    counts = [[2, 1, 1, 1, 0, 4, 4, 4, 4, 30], [1, 1, 1, 1, 1, 4, 4, 4, 4, 30], [1, 1, 0, 1, 0, 4, 4, 4, 4, 30]]
    runs = compared(*folds_of(tmp_path, [0, 1, 2], counts))
    (mean,) = seed_means(runs)
    assert (mean.tags, mean.folds, mean.of_folds, mean.std) == ("ABC", 3, 3, None)
    by_name = {one.name: one for one in mean.classes}
    assert [one.tested for one in mean.classes] == [4, 3, 2, 3, 1, 12, 12, 12, 12, 90]
    assert by_name["airplane"].accuracy == pytest.approx((2 * 0 + 8 + 16) / 4), "each image counts once"
    assert by_name["bird"].accuracy == pytest.approx((16 + 24) / 2), "it has no image in the last fold"
    assert by_name["truck"].accuracy == pytest.approx(80)
    assert mean.mean == pytest.approx(sum(one.accuracy for one in mean.classes) / 10)
    drawn = plain(panels.pooled_classes([mean]))
    assert "A+B+C pooled over test folds 3 of 3" in drawn[1]
    assert drawn[2].split() == ["airplane", "6.0", "4", "0-55", "%"] and drawn[11].split() == ["truck", "80.0", "90"]
    side_by_side = panels.Comparison(runs, ["#ffffff"] * 3)
    assert "A+B+C folds 3 of 3" in "\n".join(plain(panels.figures(side_by_side, [mean], 118)))
    # So it is in a report, where what the set is compared with is pooled alike.
    (cell,) = report_cells(runs)
    figures = [cell.figure(label) for label in ("final", "random", "initialization")]
    assert [one and (one.mean, one.n) for one in figures] == [(pytest.approx(mean.mean), 1)] * 3
    assert cell.by_class() == cell.by_class("random") == [one.accuracy for one in mean.classes]
    blocks = [*accuracy([cell])]
    told = next(block for block in blocks if "test folds" in str(block))
    table = next(block for block in blocks if isinstance(block, Table) and block.titles[0] == "class")
    assert "3 of 3 test folds, pooled. On 151 images of 10 classes the mean is 43.4 %, ± 15.6 points" in str(told)
    assert table.rows[0] == ("airplane", "4", "6.0", "0-55")


def test_seeds_are_averaged_after_their_folds_are_pooled(tmp_path: Path) -> None:
    folders = folds_of(tmp_path, [0, 1], [[5] * 10, [5] * 10])
    folders += folds_of(tmp_path, [0, 1], [[5] * 10, [15] * 10], seed=1)
    (mean,) = seed_means(compared(*folders))
    assert (mean.tags, mean.folds) == ("ABCD", 2)
    assert mean.mean == pytest.approx((40 + 42) / 2) and mean.std == pytest.approx(2 / 2**0.5)


@pytest.mark.parametrize(
    ("folds", "more_folds", "accuracy"),
    [([0, 1], [2], (36 + 44 + 52) / 3), ([0], [1], (36 + 44) / 2), ([0, 1], [0], (36 + 44) / 2)],
)
def test_seeds_with_different_folds_have_no_spread(
    tmp_path: Path, folds: list[int], more_folds: list[int], accuracy: float
) -> None:
    counts = [[5] * 10] * 3
    (mean,) = seed_means(compared(*folds_of(tmp_path, folds, counts), *folds_of(tmp_path, more_folds, counts, seed=1)))
    assert mean.std is None, "their images are not the same"
    assert mean.folds == len({*folds, *more_folds}) and mean.mean == pytest.approx(accuracy)
    assert {one.tested for one in mean.classes} == {5 * mean.folds}


def test_a_title_names_the_runs_whose_checks_are_on_validation_images(tmp_path: Path) -> None:
    tested, judged = (compared(record(tmp_path / status, status, 3))[0] for status in ("done", "judged"))
    second = replace(judged, tag="B")
    told = [panels.judged_of(runs) for runs in ([tested], [tested, second], [judged, second])]
    assert told == ["", " (B validation images)", " (validation images)"]


def test_the_cell_is_told_only_where_it_is_common(pair: list[ComparedRun], tmp_path: Path) -> None:
    assert common_cell(pair) == "3 runs of cifar10, IF 100, IPC 10"
    other = varied(record(tmp_path / "other", "stopped", 20), "ipc=20")
    assert common_cell([pair[0], *compared(other)]) == "2 runs"


@pytest.mark.parametrize("width", [20, 56, 76, 118, 196])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_tables_keep_their_width_and_columns(pair: list[ComparedRun], width: int, count: int) -> None:
    runs = [*pair, *pair][:count]
    side_by_side = panels.Comparison(runs, ["#ffffff"] * count)
    figures = panels.figures(side_by_side, [], width)
    classes = panels.classes(side_by_side, compared_classes(runs), group_lines(runs), width)
    differing = panels.settings(side_by_side, differing_settings(runs), width)
    for table in (figures[: count + 1], [line for line in classes if line], differing):
        assert len({line.cell_length for line in table}) == 1, "columns stand below each other"
    if width >= 76:
        assert figures[0].cell_length <= width and classes[0].cell_length <= width and differing[0].cell_length <= width
    if width >= 56:
        assert classes[0].cell_length <= width


def test_differences_are_to_the_run_that_is_asked_for(pair: list[ComparedRun]) -> None:
    first, second = pair[:2]
    lines = compared_classes([first, second])
    to_first = plain(panels.classes(panels.Comparison([first, second], ["#ffffff"] * 2, 0), lines, [], 60))
    to_second = plain(panels.classes(panels.Comparison([first, second], ["#ffffff"] * 2, 1), lines, [], 60))
    assert "B-A" in to_first[0] and "+2.0" in to_first[1]
    assert "A-B" in to_second[0] and "-2.0" in to_second[1]


def test_a_check_is_never_shown_as_a_result(pair: list[ComparedRun]) -> None:
    drawn = plain(panels.figures(panels.Comparison(pair, ["#ffffff"] * 3), [], 118))
    assert "52.9\u00b10.4" in drawn[1] and "-0.5" in drawn[1]
    assert f"({pair[2].rows['last check'].accuracy_mean:.1f})" in drawn[3]
    assert drawn[-1] == panels.NOTE
