"""The dataset card: Markdown with the YAML head that hubs read, from metrics.json and the set's own metadata."""

from __future__ import annotations

from typing import Any

import yaml

from engine.run.events import BOUND
from engine.run.methods import METHODS
from engine.run.metrics import FEW_TEST_IMAGES, GROUPS, MetricsJson, interval_text

_TEXT = """\
# {title}

{count} {kind} images, {ipc} for each of {classes} classes, {channels} x {size} x {size}, made by the method `{method}`
of ltdd-tui from {source_count} long-tailed training images of `{dataset}` (imbalance factor {imbalance}, seed {seed}).

## Accuracy

| trained on | network | accuracy | many | medium | few |
| --- | --- | --- | --- | --- | --- |
{accuracy_rows}

Percent on {test_set}: mean and sample standard deviation over n networks, each trained from scratch.

- **final** is the set in this folder, after the last iteration.
- **best** was chosen *on the test set* among the checks on the way, then measured with networks of its own: the choice
  flatters.
- **random** is real images with their classes as labels, drawn anew for every network, at a step size of their own
  (`evaluate.real_learning_rate`); **initialization** is where matching started. Else the recipe is the same.
- **experts** were trained on all long-tailed images: what the source itself gives.
- many, medium and few-shot classes: {grouping}.
{expected}
## Evaluation protocol

A fresh {arch} is trained on this set alone and tested once: {epochs} epochs, batches of {batch_size}, soft
cross-entropy, SGD with momentum {momentum:g}, weight decay {weight_decay:g} and the learning rate stored in the file,
a tenth of it after {decay_at:.0%} of the epochs. Augmentation (DSA): {augmentation}. ConvNet width {width}, depth
{depth}. Whitening: {whitening_text}

## Classes

| label | class | source images | images here | test images | final accuracy |
| --- | --- | --- | --- | --- | --- |
{class_rows}

Labels follow the rows, as in `classes.txt`. A folder's classes are in natural order (0, 1, 2, ..., 10); torchvision's
`ImageFolder` sorts them as text (0, 1, 10, 2), so translate its labels by name.
{few_tests}
## Load it

```python
import torch
from engine.distilled import DistilledSet
distilled = DistilledSet.load("distilled.safetensors")
network = distilled.network("{arch}", seed=0)
optimizer = torch.optim.SGD(network.parameters(), distilled.learning_rate, {momentum:g}, weight_decay={weight_decay:g})
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [distilled.recipe.decay_epoch])
for epoch in range({epochs}):
    for images, targets in distilled.batches(batch_size={batch_size}, seed=epoch):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
    schedule.step()
```

`network(distilled.preprocess(pixels))` then gives logits for images of the same size, uint8 or floats in [0, 1].

## Files

- `distilled.safetensors`: images whitened and in pixel space, soft labels, learning rate, whitening, metadata
- `metrics.json`: every figure, per class as well
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


_FEW_TESTS = f"""
Low to high: the 95 % interval (Wilson) of an accuracy on fewer than {FEW_TEST_IMAGES} test images.
"""


def dataset_card(metrics: MetricsJson, about: dict[str, Any]) -> str:
    """README.md of a result; `about` is the metadata inside its distilled.safetensors."""
    count = len(about["class_names"]) * about["ipc"]
    title = f"{about['dataset']}, long-tailed, distilled by {about['method']} to {about['ipc']} images per class"
    imbalance = f"{max(about['class_counts']) / min(about['class_counts']):.4g}"
    natural = about["imbalance_factor"] == "natural"
    # Class names come from folders of the user: a line end or a bar in one would break the table.
    cells = [" ".join(name.split()).replace("|", "\\|") for name in about["class_names"]]
    counts = zip(cells, about["class_counts"], strict=True)
    values = about | about["recipe"] | about["network"]
    chosen = "randomly selected" if about["method"] == "random" else f"selected by {about['method']}"
    kind = "synthetic" if METHODS[about["method"]].distills else f"real, {chosen}"
    values |= {
        "title": title,
        "count": count,
        "classes": len(about["class_names"]),
        "size": about["image_size"],
        "source_count": f"{sum(about['class_counts']):,}",
        "kind": kind,
        "imbalance": f"natural, {imbalance}" if natural else f"{about['imbalance_factor']:g}",
        "arch": metrics["arch"],
        "accuracy_rows": _accuracy_rows(metrics),
        "grouping": metrics["grouping"],
        # Runs of older versions do not have it, known sets have a test set of their own.
        "test_set": f"the test set ({metrics['test_set']})" if metrics.get("test_set") else "the balanced test set",
        "expected": _expected(metrics),
        "augmentation": ", ".join(about["augmentation"]) or "none",
        "whitening_text": WHITENING_TEXT[about["whitening"]],
        "class_rows": "\n".join(
            f"| {c} | {cell} | {count} | {about['ipc']} | {tests} | {accuracy} |"
            for c, ((cell, count), (tests, accuracy)) in enumerate(
                zip(counts, _tests_and_accuracies(metrics, len(cells)), strict=True)
            )
        ),
        "few_tests": _FEW_TESTS if metrics["final"].get("per_class_intervals") else "",
    }
    return f"---\n{_head(title, count, about)}---\n\n{_TEXT.format_map(values)}"


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


def _accuracy_rows(metrics: MetricsJson) -> str:
    """A row of the table for each set and network, and for both kinds of experts, where there are figures."""
    sets = [(name, metrics["arch"], metrics[name]) for name in ("final", "best", "random", "initialization")]
    sets += [("final", arch, figures) for arch, figures in metrics["architectures"].items()]
    sets += [(f"{kind} experts", "-", figures) for kind, figures in metrics["experts"].items()]
    bounds = metrics.get("bounds") or {}
    sets += [(f"{BOUND}{loss}".replace("_", " "), metrics["arch"], figures) for loss, figures in bounds.items()]
    rows = []
    for name, arch, figures in sets:
        if figures is not None:
            at = f", iteration {figures['iteration']}" if "iteration" in figures else ""
            mean, std = _percent(figures["accuracy_mean"]), _percent(figures["accuracy_std"])
            groups = " | ".join(_percent(figures["groups"][group]) for group in GROUPS)
            rows.append(f"| {name}{at} | {arch} | {mean} ± {std} (n = {figures['repeats']}) | {groups} |")
    return "\n".join(rows)


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
