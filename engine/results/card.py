"""The dataset card: Markdown with the YAML head that hubs read, from metrics.json and the set's own metadata."""

from __future__ import annotations

from typing import Any

import yaml

from engine.results.verdict import comparison_rows
from engine.run.data_settings import WITHOUT_ZCA
from engine.run.errors import escaped, listed
from engine.run.events import BOUND
from engine.run.methods import METHODS, MethodName
from engine.run.metrics import FEW_TEST_IMAGES, GROUPS, Figures, MetricsJson, diverged_text, interval_text
from engine.run.recipes import EvaluateSettings, HardSettings, OnlineSettings, Recipe

_TEXT = """\
# {title}

{count} {kind} images, {ipc} for each of {classes} classes, {channels} x {size} x {size}, {made} {source_count}
long-tailed training images of `{dataset}` (imbalance factor {imbalance}, seed {seed}).{mini_images}

{verdict}## Accuracy

{accuracy_table}

Percent on {test_set}: mean and sample standard deviation over n networks, each trained from scratch. Of a network it is
the mean of its accuracies in the classes.

- **final** is the set in this folder, after the last iteration.
- {best_text}
- **random** is real images with {random_labels}, drawn anew for every network, at a step size of their own
  (`evaluate.real_learning_rate`); **initialization** is where matching started. Else the recipe is the same.
- **experts** were trained on all long-tailed images: what the source itself gives.{teacher_text}
- many, medium and few-shot classes: {grouping}.
{expected}{stored}
## Evaluation protocol

A fresh {arch} is trained on this set alone and tested once.{protocols}

Augmentation (DSA): {augmentation}. ConvNet width {width}, depth {depth}. Whitening: {whitening_text}

## Classes

| label | class | source images | images here | test images | final accuracy{first_regime} |
| --- | --- | --- | --- | --- | --- |
{class_rows}

Labels follow the rows, as in `classes.txt`. A folder's classes are in natural order (0, 1, 2, ..., 10); torchvision's
`ImageFolder` sorts them as text (0, 1, 10, 2), so translate its labels by name.
{few_tests}
## Load it

```python
from engine.distilled import {imports}
distilled = DistilledSet.load("distilled.safetensors")
training = distilled.training({arguments})
network = distilled.network("{arch}", seed=0)
optimizer, schedule = training.optimizer(network)
averaged = training.averaged(network)
for epoch in range(training.epochs):
    for images, targets in training.batches(seed=epoch):
        optimizer.zero_grad()
        training.loss(network(images), targets).backward()
        optimizer.step()
        averaged.update_parameters(network)
    schedule.step()
```

`averaged(distilled.preprocess(pixels))` then gives logits for images of the same size, uint8 or floats in [0, 1].
`distilled.training` takes a label regime: `"hard"`, `"stored"`, or `"online"` with a teacher.
{model}
## Files

- `distilled.safetensors`: images as networks see them, soft labels, learning rate, whitening, metadata
{teacher_file}{model_file}- `metrics.json`: every figure, per class as well
- `grid.png`: the images, a class a row
- `classes.txt`: the names of the classes, one a line, in the order of the labels

## License

These images derive from `{dataset}`: the license of its images holds for them. Look it up before passing them on.
"""

WHITENING_TEXT = {
    "published": "ZCA, test images normalized before it by CIFAR-10's mean and std, as the official code does.",
    "normalized": "ZCA, images normalized before it by CIFAR-10's mean and std, the same for train and test.",
    "paper": "ZCA, test images normalized before it by the training images' mean and std per channel.",
    "corrected": "ZCA, fitted on the long-tailed training images and the same for train and test.",
    "none": "none, only mean and standard deviation per channel.",
    "raw": "none, pixels from 0 to 1.",
}


def whitening_text(about: dict[str, Any]) -> str:
    """How images are whitened, in a sentence or two."""
    rank = about.get("whitening_rank")
    low_rank = f" The {rank} directions of the largest variance are scaled each by itself, all others alike."
    return WHITENING_TEXT[about["whitening"]] + (low_rank if rank and about["whitening"] not in WITHOUT_ZCA else "")


_TEACHER_FILE = "- `teacher.safetensors`: the networks that label images in the regime online\n"
_MODEL_FILE = "- `model.pt2`: a network trained on this set, for PyTorch\n"
_MODEL = """
## Ask its model

`ltdd-tui predict` asks `model.pt2`, the first of the {repeats} networks of **final** ({arch}). So does PyTorch alone:

```python
import json, numpy, torch
from PIL import Image, ImageOps
files = {{"about.json": ""}}
model = torch.export.load("model.pt2", extra_files=files).module()
names = json.loads(files["about.json"])["class_names"]
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{mode}")
image = {fitted}
pixels = torch.from_numpy(numpy.array(image)).view(1, {size}, {size}, {channels}).permute(0, 3, 1, 2)  # uint8
for share, label in zip(*model(pixels).softmax(1)[0].topk({shown})):
    print(f"{{names[label]}} {{share:.1%}}")
```
"""


def _model_text(metrics: MetricsJson, about: dict[str, Any]) -> str:
    """How model.pt2 is asked about an image."""
    repeats, channels, size = metrics["final"]["repeats"], about["channels"], about["image_size"]
    mode, shown = "L" if channels == 1 else "RGB", min(3, len(about["class_names"]))
    fitted = {
        "crop": "ImageOps.fit(image, {}, {})",
        "pad": "ImageOps.pad(image, {}, {})",
        "stretch": "image.resize({}, {})",
    }
    fitted_as = fitted[about.get("fit", "crop")].format((size, size), "Image.Resampling.BILINEAR")
    of_image = {"fitted": fitted_as, "mode": mode, "channels": channels, "size": size, "shown": shown}
    return _MODEL.format(arch=metrics["arch"], repeats=repeats, **of_image)


_FEW_TESTS = f"""
Low to high: the 95 % interval (Wilson) of an accuracy on fewer than {FEW_TEST_IMAGES} test images.
"""


_BEST_ON_TEST = """\
**best** was chosen *on the test set* among the checks on the way, then measured with networks of its own: the choice
  flatters."""
_BEST_BY_VALIDATION = """\
**best** is final: the best of the checks on the way, or the start, was chosen by train images set apart (validation),
  and no test image had a part in it."""


def dataset_card(
    metrics: MetricsJson, about: dict[str, Any], with_teacher: bool = False, with_model: bool = False
) -> str:
    """README.md of a result; `about` is the metadata inside its distilled.safetensors.

    `with_teacher`, `with_model`: whether teacher.safetensors and model.pt2 lie beside it.
    """
    count = len(about["class_names"]) * about["ipc"]
    elsewhere = about["method"] == "imported"
    by = made_by(about["method"])
    distills = METHODS[about["method"]].distills
    joint = " to" if distills and not elsewhere else ","
    title = f"{about['dataset']}, long-tailed, {by}{joint} {about['ipc']} images per class"
    imbalance = f"{max(about['class_counts']) / min(about['class_counts']):.4g}"
    natural = about["imbalance_factor"] == "natural"
    # Class names come from folders of the user: a line end or a bar in one would break the table.
    cells = [escaped(" ".join(name.split())).replace("|", "\\|") for name in about["class_names"]]
    counts = zip(cells, about["class_counts"], strict=True)
    values = about | about["network"]
    regimes = list(metrics.get("regimes") or [metrics.get("labels") or "stored"])
    kind = "imported" if elsewhere else "synthetic" if distills else "real"
    verb, method = "made" if distills else "selected", about["method"]
    made = "evaluated by ltdd-tui beside" if elsewhere else f"{verb} by the method `{method}` of ltdd-tui from"
    values |= {
        "title": title,
        "count": count,
        "classes": len(about["class_names"]),
        "size": about["image_size"],
        "best_text": _BEST_BY_VALIDATION if metrics.get("validation") else _BEST_ON_TEST,
        "mini_images": _mini_images(about, count),
        "random_labels": _random_labels(metrics),
        "source_count": f"{sum(about['class_counts']):,}",
        "kind": kind,
        "made": made,
        "imbalance": f"natural, {imbalance}" if natural else f"{about['imbalance_factor']:g}",
        "arch": metrics["arch"],
        "verdict": _verdict_text(metrics),
        "accuracy_table": _accuracy_table(metrics),
        "first_regime": "" if regimes == ["stored"] else f" ({regimes[0]} labels)",
        "teacher_text": _teacher_text(metrics),
        "stored": _stored(metrics, regimes),
        "protocols": _protocols(about, regimes),
        "imports": "DistilledSet, load_teacher" if regimes[0] == "online" else "DistilledSet",
        "arguments": '"online", load_teacher("teacher.safetensors")' if regimes[0] == "online" else f'"{regimes[0]}"',
        "teacher_file": _TEACHER_FILE if with_teacher else "",
        "model_file": _MODEL_FILE if with_model else "",
        "model": _model_text(metrics, about) if with_model else "",
        "grouping": metrics["grouping"],
        # Runs of older versions do not have it, known sets have a test set of their own.
        "test_set": f"the test set ({metrics['test_set']})" if metrics.get("test_set") else _known_test_set(metrics),
        "expected": _expected(metrics),
        "augmentation": ", ".join(about["augmentation"]) or "none",
        "whitening_text": whitening_text(about),
        "class_rows": "\n".join(
            f"| {c} | {cell} | {count} | {about['ipc']} | {tests} | {accuracy} |"
            for c, ((cell, count), (tests, accuracy)) in enumerate(
                zip(counts, _tests_and_accuracies(metrics, len(cells)), strict=True)
            )
        ),
        "few_tests": _FEW_TESTS if metrics["final"].get("per_class_intervals") else "",
    }
    return f"---\n{_head(title, count, about)}---\n\n{_TEXT.format_map(values)}"


def _verdict_text(metrics: MetricsJson) -> str:
    """What to use and why, the table behind it, and by which images the run chose; an older version has no verdict."""
    verdict, validation = metrics.get("verdict"), metrics.get("validation")
    if not verdict:
        return ""
    titles, *rows = comparison_rows(metrics)
    table = "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *rows])
    sentence = verdict["sentence"][:1].upper() + verdict["sentence"][1:]
    chosen = ""
    if validation and validation.get("counts"):
        names = validation.get("stand_ins") or []
        stand_ins = f", where {listed(names)} could spare none and have their own train images in it" if names else ""
        chosen = (
            f"\n\nChosen by {sum(validation['counts']):,} validation images{stand_ins}; no test image had a part in it."
        )
    return f"## Verdict\n\n{sentence}.\n\n{table}{chosen}\n\n"


def made_by(method: MethodName) -> str:
    """How a set came about: distilled by ltdd, selected by k-center, randomly selected, made elsewhere."""
    named = {"imported": "made elsewhere", "random": "randomly selected"}
    return named.get(method) or f"{'distilled' if METHODS[method].distills else 'selected'} by {method}"


def _random_labels(metrics: MetricsJson) -> str:
    """What labels the random images of these figures have."""
    regimes = metrics.get("regimes") or {metrics.get("labels") or "stored": metrics}
    random = [own["random"] for own in regimes.values() if own.get("random")]
    by_teacher = [bool(figures.get("teacher_labels")) for figures in random]
    if not any(by_teacher):
        return "their classes as labels"
    return "the teacher's labels" if all(by_teacher) else "the teacher's labels in stored, else their classes"


def _mini_images(about: dict[str, Any], count: int) -> str:
    """What is to be known of images that hold several mini-images; nothing of others."""
    side = about.get("partition", 1)
    return _MINI_IMAGES.format(side=side, times=side**2, count=count, seen=count * side**2) if side > 1 else ""


_MINI_IMAGES = """
Each holds {side} x {side} mini-images, which networks see enlarged, as {seen} images. In the same epochs they take
about {times} times as many steps as on {count} images. So a gain over **random**, which is whole images, is partly one
of more steps; **initialization** has as many images and steps."""


def _head(title: str, count: int, about: dict[str, Any]) -> str:
    """The YAML at the top that dataset hubs read."""
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    size = next((name for limit, name in sizes if count < limit), "1M<n<10M")
    return yaml.safe_dump(
        {
            "pretty_name": title,
            "license": "other",
            "license_name": "that-of-the-source-images",
            "task_categories": ["image-classification"],
            "size_categories": [size],
            "source_datasets": ["original" if about["dataset"] == "folder" else f"extended|{about['dataset']}"],
            "tags": ["dataset-distillation", "long-tailed"],
            # Without this a hub would take grid.png for the data and show it.
            "viewer": False,
        },
        sort_keys=False,
        allow_unicode=True,
    )


def _accuracy_table(metrics: MetricsJson) -> str:
    """A row for each set, label regime and network, for both kinds of experts, and for the teacher, as far as known."""
    first = metrics.get("labels") or "stored"
    sets = [(name, first, metrics["arch"], metrics[name]) for name in ("final", "best", "random", "initialization")]
    sets += [("final", first, arch, figures) for arch, figures in metrics["architectures"].items()]
    regimes = metrics.get("regimes") or {}
    for labels, own in ((labels, own) for labels, own in regimes.items() if labels != first):
        sets += [(name, labels, metrics["arch"], own[name]) for name in ("final", "random", "initialization")]
        sets += [("final", labels, arch, figures) for arch, figures in (own.get("architectures") or {}).items()]
    sets += [(f"{kind} experts", "-", "-", figures) for kind, figures in metrics["experts"].items()]
    sets += [("teacher", "-", "-", metrics.get("teacher"))]
    bounds = metrics.get("bounds") or {}
    sets += [(f"{BOUND}{loss}".replace("_", " "), "-", metrics["arch"], figures) for loss, figures in bounds.items()]
    # Of sets that are only trained on with stored labels, as published, no regime has to be told.
    named = {labels for _, labels, _, figures in sets if figures} != {"stored", "-"}
    titles = ["trained on", *(["labels"] if named else []), "network", "accuracy", *GROUPS]
    rows = [titles, ["---"] * len(titles)]
    for name, labels, arch, figures in sets:
        if figures is not None:
            at = f", iteration {figures['iteration']}" if "iteration" in figures else ""
            accuracy = f"{_percent(figures['accuracy_mean'])} ± {_percent(figures['accuracy_std'])}"
            groups = (_percent(figures["groups"][group]) for group in GROUPS)
            name += " (teacher's labels)" if figures.get("teacher_labels") else ""
            name += diverged_text(Figures.model_construct(**figures))
            cells = [f"{name}{at}", *([labels] if named else []), arch, f"{accuracy} (n = {figures['repeats']})"]
            rows.append([*cells, *groups])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _known_test_set(metrics: MetricsJson) -> str:
    """The test set of a known data set, or of an older run, which is called balanced only where it is known to be."""
    counts = metrics.get("test_counts") or []
    return "the balanced test set" if len(set(counts)) == 1 else "the test set"


def _teacher_text(metrics: MetricsJson) -> str:
    """What the teacher is, and what the label regimes are, where there are any beside stored."""
    regimes, teacher = metrics.get("regimes") or {}, metrics.get("teacher")
    lines = [_REGIMES] if regimes.keys() - {"stored"} else []
    if teacher:
        lines.append(f"- **teacher**: {teacher['repeats']} networks that label images ({teacher['kind']}), each alone.")
    return "".join(f"\n{line}" for line in lines)


_REGIMES = """\
- labels **hard**: networks are trained on the classes alone; **stored**: on one soft label an image, which is kept with
  it (random images: on their class, or the teacher's label where `initialize.labels` is `teacher`); **online**: on what
  a teacher makes of each augmented, mixed batch. In hard and online all sets have one step size."""


def _stored(metrics: MetricsJson, regimes: list[str]) -> str:
    """The bytes of what has to be kept for these regimes; an older version did not write them."""
    kept = metrics.get("stored_bytes")
    if not kept:
        return ""
    whole = ""
    if kept.get("set_file") and kept.get("all_images"):  # which an older version did not write
        count = sum(metrics["class_counts"])
        whole = f"- bytes: distilled.safetensors {kept['set_file']:,}; all {count:,} training images"
        whole += f" {kept['all_images']:,}.\n"
    parts = [f"images {kept['images_float32']:,} (float32; {kept['images_uint8']:,} as pixels of 8 bits)"]
    parts += [f"soft labels {kept['labels_float32']:,}"] if kept["labels_float32"] else []
    parts += [f"teacher {kept['teacher_float32']:,}"] if kept["teacher_float32"] and "online" in regimes else []
    whitening = kept.get("whitening_float32")  # which an older version did not count
    parts += [f"whitening {whitening:,} (for test images, and for pixels of 8 bits)"] if whitening else []
    return f"{whole}- bytes to keep: {', '.join(parts)}.\n"


def _protocols(about: dict[str, Any], regimes: list[str]) -> str:
    """How networks are trained in each label regime."""
    augmentation = tuple(about["augmentation"])
    hard, online = HardSettings(**about.get("hard", {})), OnlineSettings(**about.get("online", {}))
    in_file = "the learning rate stored in the file"
    texts = {
        "stored": recipe_text(EvaluateSettings(**about["recipe"]).recipe(augmentation), in_file),
        "hard": recipe_text(hard.recipe(augmentation), f"the learning rate {hard.learning_rate:g}", "Cross-entropy"),
        "online": recipe_text(online.recipe(augmentation), f"the learning rate {online.learning_rate:g}"),
    }
    if regimes == ["stored"]:
        return f" {texts['stored']}"
    return "".join(f"\n\nLabels **{labels}**: {texts[labels]}" for labels in regimes)


def recipe_text(recipe: Recipe, rate: str, loss: str = "Soft cross-entropy") -> str:
    """A recipe in sentences; `rate`: the learning rate in words, `loss`: that of a recipe without a teacher."""
    if recipe.teacher_weight is not None:
        loss = f"Mean squared error to the teacher's logits plus {recipe.teacher_weight:g} times cross-entropy"
    optimizer = f"SGD with momentum {recipe.momentum:g}" if recipe.optimizer == "sgd" else "AdamW"
    decays = ", ".join(f"{share:.0%}" for share in recipe.decay_at)
    mixing = f", CutMix with alpha {recipe.cutmix:g}" if recipe.cutmix else ""
    average = f" The average of the weights, with {recipe.ema:g} of itself a step, is tested." if recipe.ema else ""
    return (
        f"{loss}, {recipe.epochs} epochs, batches of {recipe.batch_size}{mixing}, {optimizer}, weight decay"
        f" {recipe.weight_decay:g} and {rate}, times {recipe.decay_factor:g} after {decays} of the epochs.{average}"
    )


def _tests_and_accuracies(metrics: MetricsJson, classes: int) -> list[tuple[str, str]]:
    """For each class its test images, unknown in a file of an older version, and its final accuracy."""
    final = metrics["final"]
    tests = metrics.get("test_counts") or [None] * classes
    intervals = final.get("per_class_intervals") or [None] * classes
    return [
        ("-" if count is None else str(count), _percent(value) + (f" ({interval_text(interval)})" if interval else ""))
        for count, value, interval in zip(tests, final["per_class"], intervals, strict=True)
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _expected(metrics: MetricsJson) -> str:
    """The published accuracy beside the measured ones, where the preset has one."""
    expected = metrics["expected"]
    if not expected:
        return ""
    note = f" {expected['note']}" if expected["note"] else ""
    return f"- **published** for this cell: {expected['accuracy']:g} ({expected['source']}).{note}\n"
