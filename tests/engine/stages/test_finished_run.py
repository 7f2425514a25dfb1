"""A finished run can be evaluated on other networks and copied into other forms, and nothing foreign is overwritten."""

from __future__ import annotations

import json
import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from engine.__main__ import main as worker_main
from engine.checkpoints import load_set, save_set
from engine.distilled import DistilledSet, load_teacher
from engine.manifest import origin_here, record_worker
from engine.matching.synthetic import Synthetic
from engine.pipeline import evaluate_again, keep_teacher
from engine.results.files import write_image_folder
from engine.results.trio_readme import TrioFacts, trio_readme
from engine.run.errors import InputError, RunFailed
from engine.run.events import Evaluated, Event, RunFinished
from engine.run.folder import cache_root, folder_names, write_json
from engine.run.manifest import Worker, change_manifest, read_manifest
from engine.stages.export import export_copies
from tests.engine.tiny_run import CPU, finish_run, tiny_context, tiny_settings


def test_further_networks_are_added_to_metrics_and_card_and_kept_on_disk(tmp_path: Path) -> None:
    finish_run(tmp_path)
    events: list[Event] = []
    context = tiny_context(tmp_path, tiny_settings(), events)
    before = json.loads(context.folder.metrics.read_text())
    kept = context.folder.checkpoint / "seconds.json"
    seconds = kept.read_text() if kept.exists() else ""
    evaluate_again(context, ["vgg11", "alexnet", "vgg11"], 1)
    metrics = json.loads(context.folder.metrics.read_text())
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    named = [(event.subject, event.arch, event.iteration) for event in evaluated]
    assert named == [("final", "vgg11", 3), ("final", "alexnet", 3)]
    assert metrics["architectures"]["vgg11"]["accuracy_mean"] == evaluated[0].accuracy_mean
    assert metrics["architectures"]["alexnet"] == before["architectures"]["alexnet"], "two networks say more than one"
    assert metrics["final"] == before["final"]
    assert metrics["stage_seconds"] == before["stage_seconds"], "the run's own"
    assert (kept.read_text() if kept.exists() else "") == seconds
    assert "| final, iteration 3 | vgg11 |" in context.folder.card.read_text()
    assert isinstance(events[-1], RunFinished)
    files = list(context.folder.evaluations.iterdir())
    assert sorted(file.name for file in files) == ["set-000003-alexnet-0.json", "set-000003-vgg11-0.json"]


def test_an_evaluation_of_another_origin_is_refused_where_the_same_bytes_are_promised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finish_run(tmp_path).folder
    before, elsewhere = folder.metrics.read_bytes(), vars(origin_here(CPU)) | {"threads": 77}
    change_manifest(folder, same_bytes=True, workers=[Worker(**elsewhere)])
    assert worker_main(["evaluate", str(tmp_path), "--arch", "vgg11", "--repeats", "1", "--device", "cpu"]) == 2
    assert "--same-bytes: an earlier worker of this run was of another origin" in capsys.readouterr().err
    assert folder.metrics.read_bytes() == before
    # One of an older version lists no workers: what it says of the last one is not lost.
    write_json(folder.manifest, vars(origin_here(CPU)) | {"threads": 77})
    record_worker(tiny_context(tmp_path, tiny_settings()))
    assert [worker.threads for worker in read_manifest(folder).workers] == [77, torch.get_num_threads()]


def test_more_networks_of_the_runs_own_kind_replace_final(tmp_path: Path) -> None:
    finish_run(tmp_path)
    context = tiny_context(tmp_path, tiny_settings())
    evaluate_again(context, ["convnet"], 3)
    metrics = json.loads(context.folder.metrics.read_text())
    assert (metrics["final"]["repeats"], metrics["best"]["repeats"]) == (3, 2)
    assert "convnet" not in metrics["architectures"]


@pytest.mark.parametrize(
    ("archs", "repeats", "message"),
    [
        (["convnet", "resnet50"], None, "no network 'resnet50'"),
        (["convnet"], 0, "0 networks"),
        ([""], None, "no network"),
    ],
)
def test_unknown_networks_and_repeats_below_one_are_refused(
    tmp_path: Path, archs: list[str], repeats: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_again(tiny_context(tmp_path, tiny_settings()), archs, repeats)


def test_an_unfinished_run_is_refused_with_how_to_finish_it(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, tiny_settings())
    with pytest.raises(InputError, match="resume"):
        evaluate_again(context, ["convnet"])
    with pytest.raises(InputError, match="resume"):
        export_copies(context, tmp_path / "x", None)
    assert not (tmp_path / "x").exists()


def test_the_image_folder_reads_as_one_and_shows_the_pixels(tmp_path: Path) -> None:
    context = finish_run(tmp_path / "run")
    export_copies(context, tmp_path / "images", None)
    distilled = DistilledSet.load(context.folder.distilled)
    assert len(ImageFolder(tmp_path / "images")) == 20
    with Image.open(tmp_path / "images" / "3" / "1.png") as picture:
        levels = torch.from_numpy(np.array(picture)).long()
        assert picture.mode == "L"
    assert torch.equal(levels, (distilled.pixels[7, 0] * 255).round().long())


def test_the_classes_stand_in_label_order_beside_every_copy_and_the_result(tmp_path: Path) -> None:
    context = finish_run(tmp_path / "run")
    (context.folder.result / "classes.txt").unlink()
    export_copies(context, tmp_path / "images", None)
    export_copies(context, None, tmp_path / "pt")
    export_copies(context, None, None)
    # As after a kill in its first file, which is no reason to refuse to repeat it.
    killed = tmp_path / "killed" / ".distilled.json.4194305-0123abcd.tmp"
    killed.parent.mkdir()
    killed.touch()
    export_copies(context, killed.parent, None)
    assert not killed.exists()
    for copy in (tmp_path / "images", tmp_path / "pt", killed.parent, context.folder.result):
        assert (copy / "classes.txt").read_text() == "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"


def test_a_line_end_in_the_name_of_a_class_breaks_no_list_of_classes(tmp_path: Path) -> None:
    distilled = DistilledSet.load(finish_run(tmp_path / "run").folder.distilled)
    distilled.about["class_names"][:2] = ["a\nb", "two  blanks"]
    write_image_folder(tmp_path / "images", distilled)
    assert (tmp_path / "images" / "classes.txt").read_text().splitlines() == ["a b", "two  blanks", *"23456789"]


@pytest.mark.parametrize(("method", "dtype"), [("ltdd", torch.float32), ("mtt", torch.int64)])
def test_the_pt_files_are_bare_tensors_without_code(tmp_path: Path, method: str, dtype: torch.dtype) -> None:
    context = finish_run(tmp_path / "run", tiny_settings(method))
    export_copies(context, None, tmp_path / "pt")
    images, labels, rate = (
        torch.load(tmp_path / "pt" / f"{name}.pt", weights_only=True) for name in ("images", "labels", "lr")
    )
    distilled = DistilledSet.load(context.folder.distilled)
    assert torch.equal(images, distilled.images)
    assert torch.equal(labels, distilled.label_logits if method == "ltdd" else distilled.labels)
    assert labels.dtype == dtype
    assert float(rate) == distilled.learning_rate


def test_labels_of_a_teacher_are_exported_whatever_the_method_learns(tmp_path: Path) -> None:
    settings = tiny_settings("random", initialize={"labels": "teacher"})
    context = finish_run(tmp_path / "run", settings)
    export_copies(context, None, tmp_path / "pt")
    labels = torch.load(tmp_path / "pt" / "labels.pt", weights_only=True)
    assert torch.equal(labels, DistilledSet.load(context.folder.distilled).label_logits)
    assert "**logits**" in (tmp_path / "pt" / "README.md").read_text()


@pytest.mark.parametrize("whitening", ["corrected", "none", "raw"])
def test_the_readme_beside_the_pt_files_prepares_test_images_as_the_run_did(tmp_path: Path, whitening: str) -> None:
    context = finish_run(tmp_path / "run", tiny_settings(whitening=whitening))
    export_copies(context, None, tmp_path / "pt")
    readme = (tmp_path / "pt" / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code
    names: dict = {}
    with chdir(tmp_path / "pt"):
        exec(code[1], names)
    pixels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = DistilledSet.load(context.folder.distilled).preprocess(pixels)
    torch.testing.assert_close(names["preprocess"](pixels), expected, rtol=1e-4, atol=1e-5)


def test_the_readme_beside_the_pt_files_says_what_tensors_do_not(tmp_path: Path) -> None:
    settings = tiny_settings()
    context = finish_run(tmp_path / "run", settings)
    export_copies(context, None, tmp_path / "pt")
    readme = " ".join((tmp_path / "pt" / "README.md").read_text().split())
    for told in (
        "**logits**: the targets are `labels.softmax(1)`",
        "**whitened**",
        "2 in a row for each of 10 classes",
        "Epsilon 0.1",
        "`dataset.subset_seed` 42",
        "brightness ±0.5, saturation times 0 to 2, contrast times 0.5 to 1.5",
        "a shift of up to 0.125 of the side",
        "a square of 0.5 of the side",
        "with probability 0.5",
        "each side times 0.833 to 1.2",
        "±15 degrees",
        "Cross-entropy with the soft targets, 2 epochs, batches of 128, SGD with momentum 0.9",
        "times 0.1 after 50% of the epochs",
    ):
        assert told in readme
    assert "{" not in readme
    about = DistilledSet.load(context.folder.distilled).about
    for whitening in ("none", "raw"):
        other = TrioFacts(about | {"whitening": whitening}, True, 0.1, 0.1)
        assert "Epsilon" not in trio_readme(other, settings.dataset)
    recipe = about["recipe"] | {"optimizer": "adamw", "cutmix": 1.0, "ema": 0.99}
    selected = trio_readme(
        TrioFacts(about | {"recipe": recipe, "method": "herding"}, True, 0.1, 0.001), settings.dataset
    )
    assert "CutMix with alpha 1, AdamW, weight decay" in selected and "with 0.99 of itself a step" in selected
    assert "SGD" not in selected and "digits, selected by herding: the final set" in selected


def test_copies_of_a_run_with_online_labels_carry_its_teacher_and_say_how_to_use_it(tmp_path: Path) -> None:
    settings = tiny_settings(evaluate={"repeats": 2, "epochs": 2, "labels": ["online"]})
    context = finish_run(tmp_path / "run", settings)
    export_copies(context, tmp_path / "images", tmp_path / "pt")
    kept = context.folder.teacher.read_bytes()
    assert all((tmp_path / name / "teacher.safetensors").read_bytes() == kept for name in ("images", "pt"))
    _, label = re.findall(r"```python\n(.*?)```", (tmp_path / "pt" / "README.md").read_text(), re.DOTALL)
    distilled = DistilledSet.load(context.folder.distilled)
    names: dict = {"images": distilled.images}
    with chdir(tmp_path / "pt"):
        exec(label, names)
    assert torch.equal(names["logits"], load_teacher(context.folder.teacher).logits(distilled.images))
    context.folder.teacher.unlink()
    export_copies(context, tmp_path / "images", None)
    assert not (tmp_path / "images" / "teacher.safetensors").exists(), "an earlier copy's"


def test_a_finished_run_is_given_its_teacher_by_an_evaluation_with_online_labels_or_on_request(tmp_path: Path) -> None:
    settings = tiny_settings(compile="never", online={"epochs": 1})
    finish_run(tmp_path, settings)
    context = tiny_context(tmp_path, settings)
    evaluate_again(context, None, 1, ["online"])
    metrics, kept = json.loads(context.folder.metrics.read_text()), context.folder.teacher.read_bytes()
    assert list(metrics["regimes"]) == ["stored", "online"] and metrics["regimes"]["online"]["random"]["repeats"] == 1
    assert metrics["teacher"]["repeats"] == len(load_teacher(context.folder.teacher).weights) == 2
    assert "| final, iteration 3 | online | convnet |" in context.folder.card.read_text()
    context.folder.teacher.unlink()
    keep_teacher(context)
    assert context.folder.teacher.read_bytes() == kept, "from the cache"


def test_the_best_set_is_copied_instead_of_the_final_one(tmp_path: Path) -> None:
    context = finish_run(tmp_path / "run")
    final = DistilledSet.load(context.folder.distilled)
    kept = Synthetic(final.images + 1, final.label_logits + torch.rand(20, 10), torch.tensor(0.07))
    save_set(context.folder, 2, kept)  # the tiny run's best check is of iteration 2
    export_copies(context, tmp_path / "images", tmp_path / "pt", "best")
    images, labels, rate = (
        torch.load(tmp_path / "pt" / f"{name}.pt", weights_only=True) for name in ("images", "labels", "lr")
    )
    assert torch.equal(images, kept.images) and torch.equal(labels, kept.label_logits)
    assert float(rate) == pytest.approx(0.07)
    assert "the best set, of iteration 2, as .pt files" in (tmp_path / "pt" / "README.md").read_text()
    with Image.open(tmp_path / "images" / "3" / "1.png") as picture:
        levels = torch.from_numpy(np.array(picture)).float()
    pixels = final.whitening.to_pixels(kept.images).clamp(0, 1)
    assert torch.equal(levels, (pixels[7, 0] * 255).round())
    with pytest.raises(InputError, match="something else"):
        export_copies(context, None, tmp_path / "pt")


def test_a_best_set_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)the best set, of iteration 2, is gone.*leave --set out"):
        export_copies(finish_run(tmp_path / "run"), None, tmp_path / "pt", "best")
    assert not (tmp_path / "pt").exists()


def test_a_copy_can_be_made_again_but_never_over_something_else(tmp_path: Path) -> None:
    context, target = finish_run(tmp_path / "run"), tmp_path / "copy"
    export_copies(context, target, target)
    export_copies(context, target, None)
    other = finish_run(tmp_path / "other", tiny_settings(seed=1))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for run, folder in ((other, target), (context, mine), (context, mine / "thesis.txt")):
        with pytest.raises(InputError, match="new or an empty folder"):
            export_copies(run, folder, None)
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_asked_for_no_copy_the_picture_and_the_card_are_drawn_again(tmp_path: Path) -> None:
    context = finish_run(tmp_path)
    grid, card = context.folder.grid.read_bytes(), context.folder.card.read_text()
    context.folder.grid.unlink()
    context.folder.card.write_text("scribbled over")
    export_copies(context, None, None)
    assert (context.folder.grid.read_bytes(), context.folder.card.read_text()) == (grid, card)


def test_class_folders_are_safe_and_no_two_alike() -> None:
    names = folder_names(["cat", "../etc", "Cat", "a/b", "", "CAT_2"])
    assert names == ["cat", "etc", "Cat_2", "a_b", "class_4", "CAT_2_5"]


def test_a_place_where_no_copy_can_lie_is_refused(tmp_path: Path) -> None:
    context = finish_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        export_copies(context, tmp_path / "file" / "below", None)


def test_damaged_evaluations_are_redone_and_missing_sets_are_refused(tmp_path: Path) -> None:
    context = finish_run(tmp_path)
    evaluate_again(context, ["vgg11"], 1)
    for file in [*context.folder.evaluations.iterdir(), context.folder.checkpoint / "seconds.json"]:
        file.write_text('{"per')
    evaluate_again(tiny_context(tmp_path, tiny_settings()), ["vgg11"], 1)
    with pytest.raises(RunFailed, match="missing"):
        load_set(context.folder, 7, context.device)


def test_an_unusable_cache_is_reported_with_its_variable_and_not_as_the_runs_own_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = finish_run(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("engine.commands.export_copies", lambda *_: cache_root().mkdir(parents=True))
    before = context.folder.events.read_text() if context.folder.events.exists() else ""
    assert worker_main(["export", str(tmp_path), "--device", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "the cache cannot be used" in told and "LTDD_CACHE" in told
    assert context.folder.events.read_text() == before, "the run has not broken"
    monkeypatch.undo()
    for foreign in ("{}", "[1]", '{"final": 3}', "{"):
        context.folder.metrics.write_text(foreign)
        assert worker_main(["export", str(tmp_path), "--device", "cpu"]) == 2
        assert "the metrics" in capsys.readouterr().err and context.folder.events.read_text() == before
