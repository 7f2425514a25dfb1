"""The result folder: the same bytes for the same set, every figure of the contract, a card that hubs can read."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image

from engine.distilled import describe
from engine.results.card import dataset_card
from engine.results.metrics import collect_metrics
from engine.run.folder import RunFolder
from engine.run.settings import settings_hash
from tests.engine.tiny_run import evaluations, expert, figures, finish_run, tiny_context, tiny_data, tiny_settings

ROOT = Path(__file__).parents[3]
FIGURES = {"accuracy_mean", "accuracy_std", "repeats", "per_class", "groups"}
PROGRAM = "import pathlib, sys; from tests.engine.tiny_run import finish_run; finish_run(pathlib.Path(sys.argv[1]))"


def metrics_of(root: Path) -> dict:
    return json.loads(RunFolder(root).metrics.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return finish_run(tmp_path_factory.mktemp("finished")).folder


def test_the_set_is_the_same_bytes_in_any_folder_and_process(finished: RunFolder, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "another-name"]
    for seed, folder in enumerate(folders, start=1):
        environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], check=True, cwd=ROOT, env=environment)
    contents = {folder.distilled.read_bytes() for folder in (finished, *map(RunFolder, folders))}
    assert len(contents) == 1


def test_another_seed_is_another_file(finished: RunFolder, tmp_path: Path) -> None:
    other = finish_run(tmp_path, tiny_settings(seed=1)).folder
    assert other.distilled.read_bytes() != finished.distilled.read_bytes()


def test_the_set_names_neither_its_folder_nor_any_version(finished: RunFolder) -> None:
    content = finished.distilled.read_bytes()
    for told in (finished.root.name, str(finished.root), "version", "created"):
        assert told.encode() not in content


def test_metrics_hold_every_key_of_the_contract(finished: RunFolder) -> None:
    metrics, settings = metrics_of(finished.root), tiny_settings()
    assert set(metrics) == {
        "checksum",
        "recovered",
        "schema",
        "method",
        "dataset",
        "imbalance_factor",
        "ipc",
        "class_counts",
        "test_counts",
        "class_names",
        "repeats",
        "arch",
        "seed",
        "settings_hash",
        "final",
        "best",
        "random",
        "initialization",
        "experts",
        "grouping",
        "test_set",
        "architectures",
        "labels",
        "regimes",
        "teacher",
        "stored_bytes",
        "bounds",
        "selections",
        "validation",
        "verdict",
        "training_seconds",
        "stage_seconds",
        "estimated",
        "memory_gib",
        "expected",
        "device",
        "versions",
    }
    named = {key: metrics[key] for key in ("schema", "method", "dataset", "imbalance_factor", "ipc", "repeats", "arch")}
    assert named == {
        "schema": 1,
        "method": "ltdd",
        "dataset": "digits",
        "imbalance_factor": 50.0,
        "ipc": 2,
        "repeats": 2,
        "arch": "convnet",
    }
    assert metrics["settings_hash"] == settings_hash(settings)
    assert metrics["class_counts"] == tiny_data(settings).class_counts
    assert metrics["grouping"] == tiny_data(settings).grouping


def test_every_evaluation_has_its_own_figures(finished: RunFolder) -> None:
    metrics = metrics_of(finished.root)
    means = {name: metrics[name]["accuracy_mean"] for name in ("random", "initialization", "final", "best")}
    assert means == {"random": 40.0, "initialization": 45.0, "final": 60.0, "best": 61.0}
    assert metrics["architectures"] == {
        "alexnet": metrics["final"]
        | {"accuracy_mean": 55.0, "per_class": [55.0] * 10, "groups": {"many": 55.0, "medium": 55.0, "few": None}}
    }
    for name in ("initialization", "final", "best"):
        assert set(metrics[name]) == FIGURES | {"iteration"}
    assert set(metrics["random"]) == FIGURES
    assert metrics["best"]["iteration"] == 2


def test_accuracies_on_few_test_images_have_intervals_in_metrics_and_card(tmp_path: Path) -> None:
    folder = finish_run(tmp_path, tiny_settings(dataset={"name": "digits", "test_per_class": 4})).folder
    metrics = metrics_of(tmp_path)
    assert metrics["test_counts"] == [4] * 10
    # 60 % of 4 images; 82 % for the classifier experts.
    assert metrics["final"]["per_class_intervals"][0] == pytest.approx([20.46, 89.74], abs=0.01)
    assert metrics["experts"]["classifier"]["per_class_intervals"][3][0] < 82 < 100
    card = folder.card.read_text()
    assert "| 0 | 170 | 2 | 4 | 60.0 (20-90) |" in card
    assert "95 % interval (Wilson) of an accuracy on fewer than 10 test images" in card


def test_with_enough_test_images_there_are_no_intervals(finished: RunFolder) -> None:
    assert metrics_of(finished.root)["test_counts"] == [40] * 10
    card = finished.card.read_text()
    assert "| 0 | 134 | 2 | 40 | 60.0 |" in card and "Wilson" not in card


def test_figures_of_experts_are_means_over_experts(finished: RunFolder) -> None:
    experts = metrics_of(finished.root)["experts"]
    assert set(experts["representation"]) == FIGURES
    assert experts["representation"]["accuracy_mean"] == pytest.approx(71.0)
    assert experts["representation"]["accuracy_std"] == pytest.approx(math.sqrt(2))
    assert experts["classifier"]["groups"] == pytest.approx({"many": 82.0, "medium": 82.0, "few": 82.0})


def test_a_method_without_classifier_experts_has_null_for_them(tmp_path: Path) -> None:
    assert metrics_of(finish_run(tmp_path, tiny_settings("datm")).folder.root)["experts"]["classifier"] is None


def test_a_method_that_does_not_distill_has_no_experts_and_says_that_its_images_are_real(tmp_path: Path) -> None:
    folder = finish_run(tmp_path, tiny_settings("random")).folder
    assert metrics_of(tmp_path)["experts"] == {"representation": None, "classifier": None}
    card = folder.card.read_text()
    assert "20 real images, 2 for each" in card and "long-tailed, randomly selected, 2 images per class" in card


def test_a_number_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    settings = tiny_settings()
    results = evaluations()
    results[2] = figures("final", 3, mean=math.nan)
    metrics = collect_metrics(tiny_context(tmp_path, settings), tiny_data(settings), results, [expert(math.nan)], [])
    assert metrics["final"]["accuracy_mean"] is None
    json.dumps(metrics, allow_nan=False)


def test_the_card_begins_with_yaml_that_hubs_read(finished: RunFolder) -> None:
    _, head, body = finished.card.read_text().split("---\n", 2)
    read = yaml.safe_load(head)
    assert read["license"] == "other"
    assert read["task_categories"] == ["image-classification"]
    assert read["size_categories"] == ["n<1K"]
    assert read["source_datasets"] == ["extended|digits"]
    assert body.lstrip().startswith("# digits, long-tailed, distilled by ltdd to 2 images per class")


def test_the_card_tells_what_a_reader_must_know(finished: RunFolder) -> None:
    text = finished.card.read_text()
    for told in (
        "imbalance factor 50",
        "seed 0",
        "60.0 ± 1.5 (n = 2)",
        "71.0 ± 1.4 (n = 2)",
        "*on the test set*",
        "| 0 | 0 | 134 | 2 |",
        "| 9 | 9 | 2 | 2 |",
        "the license of its images",
        tiny_data(tiny_settings()).grouping,
    ):
        assert told in text
    assert "{" not in text.replace("{seed", "")


def test_the_card_says_where_the_test_images_come_from_and_how_labels_are_ordered(tmp_path: Path) -> None:
    settings = tiny_settings()
    context, data = tiny_context(tmp_path, settings), replace(tiny_data(settings), test_set="val/")
    card = dataset_card(collect_metrics(context, data, evaluations(), [], []), describe(settings, data))
    assert "Percent on the test set (val/): mean" in card
    assert "Labels follow the rows, as in `classes.txt`." in card and "`ImageFolder` sorts them as text" in card


def test_the_card_shows_the_published_figure_and_keeps_odd_class_names_in_their_cell(tmp_path: Path) -> None:
    settings = tiny_settings(expected={"accuracy": 53.4, "source": "table 1"})
    data = tiny_data(settings)
    metrics = collect_metrics(tiny_context(tmp_path, settings), data, evaluations(), [], [])
    assert "diverged" not in metrics["final"]
    odd = describe(settings, data) | {"class_names": ["a|b\nc", *map(str, range(9))]}
    card = dataset_card(metrics, odd)
    assert "53.4 (table 1)" in card
    assert "| 0 | a\\|b c | 134 | 2 |" in card


def test_the_cards_own_code_trains_from_the_file(finished: RunFolder) -> None:
    code = re.search(r"```python\n(.*?)```", finished.card.read_text(), re.DOTALL)
    assert code
    with chdir(finished.result):
        exec(code[1], {})


def test_of_a_run_with_label_regimes_the_card_names_the_regime_of_each_figure(tmp_path: Path) -> None:
    labels = {"repeats": 2, "epochs": 2, "arch": ["convnet", "alexnet"], "labels": ["online", "stored"]}
    folder = finish_run(tmp_path, tiny_settings(evaluate=labels, online={"epochs": 2, "cutmix": 0.5})).folder
    card = folder.card.read_text()
    accuracies = card.partition("## Accuracy")[2]
    rows = [line.strip("| ").split(" | ") for line in accuracies.splitlines() if "(n = 2)" in line]
    named = [(row[0].partition(",")[0], *row[1:3]) for row in rows]
    first = [(name, "online", "convnet") for name in ("final", "best", "random", "initialization")]
    others = [(name, "stored", "convnet") for name in ("final", "random", "initialization")]
    experts = [(f"{kind} experts", "-", "-") for kind in ("representation", "classifier")]
    further = [("final", "online", "alexnet"), ("teacher", "-", "-")]
    assert sorted(named) == sorted([*first, *others, *experts, *further])
    for told in ("Labels **online**: Mean squared error", "CutMix with alpha 0.5", "Labels **stored**: Soft cross-"):
        assert told in card
    kept = "images 5,120 (float32; 1,280 as pixels of 8 bits), soft labels 800, teacher 2,992, whitening "
    assert f"- bytes to keep: {kept}" in card and "- `teacher.safetensors`: " in card
    whole = f"- bytes: distilled.safetensors {folder.distilled.stat().st_size:,}; all 371 training images 23,744."
    assert whole in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code and 'training("online", load_teacher("teacher.safetensors"))' in code[1]
    with chdir(folder.result):
        exec(code[1], {})


def test_the_card_of_a_run_with_stored_labels_alone_names_no_regime(finished: RunFolder) -> None:
    card = finished.card.read_text()
    assert "| trained on | network | accuracy |" in card and "online" not in card.partition("## Load it")[0]


def test_of_random_images_metrics_and_card_say_whose_labels_they_have(tmp_path: Path, finished: RunFolder) -> None:
    settings = tiny_settings("random", initialize={"labels": "teacher"})
    context, data = tiny_context(tmp_path, settings), tiny_data(settings)
    random = replace(figures("random", None), teacher_labels=True)
    metrics = collect_metrics(context, data, [random, *evaluations()[1:]], [], [])
    assert metrics["random"]["teacher_labels"] is True and "teacher_labels" not in metrics["final"]
    card = dataset_card(metrics, describe(settings, data))
    assert "| random (teacher's labels) |" in card
    assert "is real images with the teacher's labels" in card and "with their classes as labels" not in card
    assert "| random |" in finished.card.read_text() and "their classes as labels" in finished.card.read_text()
    regimes = metrics["regimes"] | {"hard": metrics["regimes"]["stored"] | {"random": metrics["final"]}}
    card = dataset_card(metrics | {"regimes": regimes}, describe(settings, data))
    assert "the teacher's labels in stored, else their classes" in card


def test_selected_images_are_not_called_distilled(tmp_path: Path) -> None:
    settings = tiny_settings("k-center")
    data = tiny_data(settings)
    metrics = collect_metrics(tiny_context(tmp_path, settings), data, evaluations(), [], [])
    card = dataset_card(metrics, describe(settings, data))
    assert "# digits, long-tailed, selected by k-center, 2 images per class" in card
    assert "selected by the method `k-center`" in card and "distilled by" not in card


def test_the_card_begins_with_the_verdict_its_table_and_what_it_was_chosen_by(tmp_path: Path) -> None:
    settings = tiny_settings()
    data = tiny_data(settings)
    metrics = collect_metrics(tiny_context(tmp_path, settings), data, evaluations(), [], [])
    metrics["validation"] = {"counts": [4] * 10, "stand_ins": ["8", "9"]}
    card = dataset_card(metrics, describe(settings, data))
    told, rest = card.split("## Accuracy")
    assert metrics["verdict"]["sentence"][1:] in told and "| trained on | accuracy |" in told
    assert all(
        f"(n = {n})" in row for row in told.split("| --- |")[-1].splitlines() if row.startswith("|") for n in [2]
    )
    assert "Chosen by 40 validation images, where 8, 9 could spare none" in told
    assert "on the balanced test set" in rest
    uneven = dataset_card(metrics | {"test_counts": [40] * 9 + [3]}, describe(settings, data))
    held_out = dataset_card(metrics | {"test_set": "20 % of each class held out"}, describe(settings, data))
    assert "balanced" not in uneven + held_out


def test_the_grid_is_a_picture_of_one_class_a_row(finished: RunFolder) -> None:
    assert Image.open(io.BytesIO(finished.grid.read_bytes())).size == (2 * 8, 10 * 8)


def test_figures_of_networks_that_diverged_are_flagged(tmp_path: Path) -> None:
    settings, results = tiny_settings(), evaluations()
    data, results[2] = tiny_data(settings), replace(results[2], diverged=1)
    metrics = collect_metrics(tiny_context(tmp_path, settings), data, results, [], [], recovered=(3,))
    assert (metrics["final"]["diverged"], metrics["recovered"]) == (1, [3])
    assert "| final (1 of 2 networks diverged), iteration 3 |" in dataset_card(metrics, describe(settings, data))
