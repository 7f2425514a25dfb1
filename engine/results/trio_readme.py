"""README.md beside exported .pt files: what they hold, how test images are prepared, how networks are trained on them.

For programs that have the three tensors and torch alone: without this, a network that is trained well on the set is
tested on images that it never saw the like of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.data import augment
from engine.results.card import made_by, recipe_text, whitening_text
from engine.run.data_settings import DatasetSettings
from engine.run.recipes import EvaluateSettings, OnlineSettings

_TEXT = """\
# {count} images of {dataset}, {by}: the {which} as .pt files

| file | what it holds |
| --- | --- |
| `images.pt` | float32 ({count}, {channels}, {size}, {size}), **whitened**: train on them as they are |
| `labels.pt` | {labels} |
| `lr.pt` | the learning rate, {learning_rate:.6g} |
| `whitening.pt` | a dict of tensors: what test images go through (below) |
| `classes.txt` | the name of each label, in order; torchvision's `ImageFolder` may number them otherwise |
| `distilled.json` | the classes in label order, images of each in the source, and the recipe |
{more_rows}
The images are in class order, {ipc} in a row for each of {classes} classes: rows 0 to {last} are of class 0, {first}.

## Test images

Whitening: {whitening} The training images are {source:,}, long-tailed with imbalance factor
{imbalance}, chosen with `dataset.subset_seed` {subset_seed}. Test images have to go through the same map; on untreated
ones a good network looks like a random one.

```python
import torch

w = torch.load("whitening.pt", weights_only=True)

def preprocess(pixels):  # (N, {channels}, {size}, {size}), floats from 0 to 1
    x = (pixels - w["channel_mean"]) / w["channel_std"]
    d = x.flatten(1) - w["mean"]
    return ((d @ w["basis"] * w["scales"]) @ w["basis"].T + d * w["outside"]).view_as(pixels)
```

## Training

{recipe_text} ConvNet of width {width} and depth {depth}.

Augmentation (DSA): {augmentation}
{teacher_text}
License: the images derive from `{dataset}`; the license of its images holds for them.
"""

# What each kind draws, for each image of a batch anew.
_AMOUNTS = {
    "color": f"brightness ±{augment.BRIGHTNESS / 2:g}, saturation times 0 to {augment.SATURATION:g}, contrast times"
    f" {augment.CONTRAST:g} to {augment.CONTRAST + 1:g}",
    "crop": f"a shift of up to {augment.CROP_SHARE:g} of the side",
    "cutout": f"a square of {augment.CUTOUT_SHARE:g} of the side becomes 0",
    "flip": f"left to right, with probability {augment.FLIP_PROBABILITY:g}",
    "scale": f"each side times {1 / augment.MAX_SCALE:.3f} to {augment.MAX_SCALE:g}",
    "rotate": f"±{augment.MAX_DEGREES:g} degrees",
}


_STORED_ROW = (
    "| `stored_images.pt` | the {stored} images that hold {partition} x {partition} mini-images each, which `images.pt`"
    " has enlarged; for ltdd-tui |\n"
)
_TEACHER_ROW = "| `teacher.safetensors` | the networks that label images while others train on them (below) |\n"
_TEACHER_TEXT = """
With the teacher (label regime `online`), whose mean logits are the targets of each augmented, mixed batch:

```python
from engine.distilled import load_teacher  # ltdd-tui

teacher = load_teacher("teacher.safetensors")
logits = teacher.logits(images)  # of whitened, augmented images
```

Without ltdd-tui: the tensors are the parameters of its ConvNets by name, each below the number of its network; the
metadata of the file names width and depth. Take the mean of their logits, less `adjustment` where it is there.
{recipe_text}
"""


@dataclass(frozen=True)
class TrioFacts:
    """What the text says of a set: its metadata, whether its labels are soft, its whitening's epsilon, and the recipe's
    learning rate."""

    about: dict[str, Any]
    has_soft_labels: bool
    epsilon: float
    learning_rate: float


def trio_readme(facts: TrioFacts, dataset: DatasetSettings, with_teacher: bool = False) -> str:
    """The text; `dataset`: for what the set does not hold, `with_teacher`: whether teacher.safetensors lies there."""
    about, soft = facts.about, facts.has_soft_labels
    whitening, epsilon = whitening_text(about), facts.epsilon
    # Other programs know no mini-images: each is written as the image that networks see of it.
    classes, partition = len(about["class_names"]), about.get("partition", 1)
    ipc = about["ipc"] * partition**2
    count = classes * ipc
    stored_row = _STORED_ROW.format(stored=classes * about["ipc"], partition=partition) if partition > 1 else ""
    online = OnlineSettings(**about.get("online", {}))
    by_teacher = recipe_text(online.recipe(()), f"the learning rate {online.learning_rate:g}")
    teacher = _TEACHER_TEXT.format(recipe_text=by_teacher)
    loss = "Cross-entropy with the soft targets" if soft else "Cross-entropy with the classes"
    kinds = "; ".join(f"{name}: {_AMOUNTS[name]}" for name in about["augmentation"])
    return _TEXT.format_map(
        about
        | about["network"]
        | {
            "which": f"best set, of iteration {about['iteration']}," if about.get("set") == "best" else "final set",
            "by": made_by(about["method"]),
            "count": count,
            "ipc": ipc,
            "classes": classes,
            "last": ipc - 1,
            "first": " ".join(about["class_names"][0].split()),
            "size": about["image_size"],
            "labels": f"float32 ({count}, {classes}), **logits**: the targets are `labels.softmax(1)`"
            if soft
            else f"int64 ({count},), class indices",
            "learning_rate": facts.learning_rate,
            "whitening": f"{whitening} Epsilon {epsilon:g}." if "ZCA" in whitening else whitening,
            "source": sum(about["class_counts"]),
            "imbalance": str(about["imbalance_factor"]).removesuffix(".0"),
            "subset_seed": dataset.subset_seed,
            "recipe_text": recipe_text(EvaluateSettings(**about["recipe"]).recipe(()), "the learning rate above", loss),
            "augmentation": f"one kind for each batch, amounts for each image. {kinds}." if kinds else "none.",
            "more_rows": stored_row + (_TEACHER_ROW if with_teacher else ""),
            "teacher_text": teacher if with_teacher else "",
        }
    )
