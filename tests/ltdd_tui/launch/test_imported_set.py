"""`import` and `run --from` turn what the worker finds in a set into the settings of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.run.folder import RunFolder
from engine.run.presets import dump, load_preset
from engine.run.settings import RunSettings
from ltdd_tui.cli import run
from ltdd_tui.runs import worker

DIGITS = {
    "source": "/elsewhere/images.pt",
    "shape": [20, 1, 8, 8],
    "labels": "soft, as logits",
    "soft_labels": True,
    "classes": 10,
    "learning_rate": 0.02,
    "space": "auto",
    "range": [-1.0, 2.0],
    "gray": True,
}


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the worker finds in any file. No worker is started with the run that is made of it."""
    monkeypatch.setattr(run, "_start", lambda *_: None)
    return lambda **more: monkeypatch.setattr(worker, "answer", lambda arguments: json.dumps(DIGITS | more))


def settings_of(runs_dir: Path, name: str) -> RunSettings:
    return load_preset(str(RunFolder(runs_dir / name).config))


def test_import_makes_a_run_that_is_evaluated_as_the_preset_says(
    command: Callable, runs_dir: Path, finds: Callable, tmp_path: Path
) -> None:
    finds(range=[-1.0, 2.7e30])
    (tmp_path / "images.pt").touch()
    done = command("import", str(tmp_path / "images.pt"), "--preset", "quickstart", "--space", "pixels", "--name", "it")
    assert "20 images of 1 x 8 x 8, values -1.00 to 2.7e+30; labels: soft" in done.err
    settings = settings_of(runs_dir, "it")
    assert (settings.method, settings.ipc, settings.has_soft_labels) == ("imported", 2, True)
    assert settings.initialize.start_set == str(tmp_path / "images.pt")
    assert settings.initialize.start_space == "pixels" and settings.expected is None
    assert settings.evaluate == load_preset("quickstart").evaluate


def test_a_run_is_imported_with_its_own_settings(
    command: Callable, runs_dir: Path, finds: Callable, make_run: Callable
) -> None:
    folder = RunFolder(make_run("first"))
    own = load_preset("quickstart", ["seed=7", "evaluate.epochs=3", "initialize.labels=teacher"])
    folder.config.write_text(dump(own))
    finds(source=str(folder.distilled), space="whitened", soft_labels=False, labels="class numbers")
    assert command("import", "first", "--name", "again").code == 0
    settings = settings_of(runs_dir, "again")
    assert (settings.seed, settings.evaluate.epochs, settings.initialize.labels) == (7, 3, "class")
    assert not settings.has_soft_labels and settings.initialize.start_set == str(folder.root)


def test_a_file_of_ours_names_its_data_set_and_evaluation(
    command: Callable, runs_dir: Path, finds: Callable, tmp_path: Path
) -> None:
    made_with: dict[str, Any] = {
        "dataset": "digits",
        "imbalance_factor": 50.0,
        "whitening": "none",
        "augmentation": ["flip", "crop"],
        "seed": 3,
        "network": {"name": "convnet", "width": 16, "depth": 2},
        "recipe": {"epochs": 5, "batch_size": 4, "momentum": 0.5, "weight_decay": 0.0, "decay_at": 0.75},
        "hard": {"epochs": 7, "batch_size": 32},
        "online": {"learning_rate": 0.0025, "decay_at": 0.6},
    }
    finds(space="whitened", made_with=made_with)
    (tmp_path / "distilled.safetensors").touch()
    assert command("import", str(tmp_path / "distilled.safetensors")).code == 0
    settings = settings_of(runs_dir, "digits-lt-if50-ipc2-imported")
    assert (settings.dataset.whitening, settings.dataset.augmentation) == ("none", ("flip", "crop"))
    assert (settings.experts.width, settings.evaluate.decay_at, settings.seed) == (16, 0.75, 3)
    assert (settings.hard.epochs, settings.hard.batch_size) == (7, 32)
    assert (settings.online.learning_rate, settings.online.decay_at) == (0.0025, 0.6)


@pytest.mark.parametrize(
    ("found", "arguments", "message"),
    [
        ({}, ["--space", "pixels"], "which data set the set was made of is not known"),
        ({}, ["--preset", "quickstart"], "what the values of the images are is not known"),
        ({"shape": [20, 1, 9, 9]}, ["--preset", "quickstart"], "the images are 9 x 9, those of digits 8 x 8"),
        ({"classes": 9}, ["--preset", "quickstart"], "the labels are of 9 classes, digits has 10"),
        ({"shape": [21, 1, 8, 8]}, ["--preset", "quickstart"], "21 images of 10 classes: no equal number"),
        ({"shape": [20, 3, 8, 8], "gray": False}, ["--preset", "quickstart"], "have 3 channels, those of digits 1"),
        ({"classes": 11, "soft_labels": False}, ["--preset", "quickstart"], "of 11 classes, digits has 10\n"),
        ({"classes": 9, "soft_labels": False}, ["--preset", "quickstart"], "digits has 10: class 9 without an image\n"),
        (
            {"classes": 9, "soft_labels": False, "class_folders": list("012345689")},
            ["--preset", "quickstart"],
            "digits has 10: class 7 without an image\n",
        ),
        ({}, ["--preset", "quickstart", "--set", "ipc=3"], "the set has 2 images a class, ipc is 3"),
        ({"faults": [{"what": "pickled code", "where": "x.pt", "hint": "no"}]}, [], "error: x.pt: pickled code"),
    ],
)
def test_an_import_that_cannot_work_leaves_no_run(
    command: Callable, runs_dir: Path, finds: Callable, found: dict[str, Any], arguments: list[str], message: str
) -> None:
    finds(**found)
    done = command("import", "x.pt", *arguments)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err and done.err.count("error: ") == 1
    assert not runs_dir.exists() or not any(runs_dir.iterdir())


@pytest.mark.parametrize(("method", "labels"), [("ltdd", "stored"), ("mtt", "experts"), ("rldd", "experts")])
def test_a_run_from_a_set_keeps_its_method_and_takes_soft_labels_where_it_has_such(
    command: Callable, runs_dir: Path, finds: Callable, tmp_path: Path, method: str, labels: str
) -> None:
    finds(space="whitened")
    (tmp_path / "images.pt").touch()
    start = ("--from", str(tmp_path / "images.pt"))
    assert command("run", "quickstart", *start, "--set", f"method={method}", "--name", "from").code == 0
    settings = settings_of(runs_dir, "from")
    assert (settings.method, settings.initialize.labels) == (method, labels)
    assert settings.initialize.start_set == str(tmp_path / "images.pt")
    # What --from gives counts where the method is looked up, too.
    stored = ("--set", "method=dm", "--set", "initialize.labels=stored", "--dry-run")
    assert command("run", "quickstart", *start, *stored).code == 0
    refused = command("run", "quickstart", *start, "--set", "ipc=5")
    assert refused.code == 2 and "hint: --set ipc=2" in refused.err
