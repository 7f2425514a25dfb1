"""The set that a method starts from, or ends with: real images, and labels for them by experts or a teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context, generator
from engine.data.dataset import LongTailedData
from engine.data.selection import pick_real_images, select_real_images, surest_crops
from engine.matching.synthetic import StartingSet, Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.events import Initialized, Warned
from engine.teachers import Teacher
from engine.training.accuracy import in_test_batches, predictions


def initialize(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    experts: list[Tensor],
    teacher: Teacher | None = None,
    imported: StartingSet | None = None,
) -> Synthetic:
    """IPC images for each class, label logits (S, C) and the first beta, by the experts' last weights (P,) each.

    Where stored images hold mini-images, each of those is another real image, and has a row of label logits.
    `teacher`: where it chooses the images or labels them. `imported`: a set made elsewhere, whose images and rate, and
    with initialize.labels stored its labels, are taken instead. Emits Initialized, and Warned where no expert knows an
    image.
    """
    with context.stage("initialize", 1, "set"):
        start, unrecognized = starting_set(context, data, network, experts, teacher, imported)
        context.emit(Initialized(unrecognized))
        if unrecognized:
            what = f"no expert classifies {unrecognized} of the starting images correctly; they are labelled by class"
            context.emit(Warned(what, "more experts or more epochs would recognize them"))
    return start


def starting_set(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    experts: list[Tensor],
    teacher: Teacher | None = None,
    imported: StartingSet | None = None,
) -> tuple[Synthetic, int]:
    """As `initialize`, without a word: the set, and how many of its images no expert classifies correctly."""
    settings = context.settings
    if imported:
        images, seen = imported.images, data.partition.decoded(imported.images)
    else:
        images, seen = _choose_images(context, data, network, experts, teacher)
    if imported and imported.label_logits is not None and settings.initialize.labels == "stored":
        logits, unrecognized = imported.label_logits, 0
    elif settings.teacher_labels_start and teacher:
        logits, unrecognized = teacher.label_logits(seen), 0
    else:
        logits, unrecognized = _label_logits(context, data, network, experts, seen)
    rate = settings.matching.beta if settings.traits.matches_trajectories else settings.evaluate.real_learning_rate
    rate = imported.learning_rate if imported and imported.learning_rate else rate
    return Synthetic(images, logits, torch.tensor(rate, device=context.device)), unrecognized


def _choose_images(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor], teacher: Teacher | None
) -> tuple[Tensor, Tensor]:
    """The stored images (S, channels, H, W), IPC a class, and the image that each label is computed from.

    Those are real images, crops of some, or what decoded noise looks like. A stored image may hold several of them.
    """
    kind, of_class = context.settings.starting_images, context.settings.images_per_class
    if kind == "crops":
        crops = _surest_crops(context, data, teacher)
        return data.partition.encoded(crops), crops
    if kind != "correct" and kind != "real" and kind != "noise":  # so that mypy knows the rule
        assert teacher
        real = data.train_images[select_real_images(data, of_class, kind, teacher.features, teacher.logits)]
        return data.partition.encoded(real), real
    draw, allowed = generator(context.settings.seed, "initialize"), None
    if kind == "correct":
        judge = experts[int(torch.randint(len(experts), (), generator=draw))]
        allowed = (predictions(network, judge, data.train_images) == data.train_labels).cpu()
    real = data.train_images[pick_real_images(data, of_class, draw, allowed)]
    images = data.partition.encoded(real)
    if kind == "noise":
        images = torch.randn(images.shape, generator=draw).to(images.device)
        return images, data.partition.decoded(images)
    # What a real image was before it was shrunk is labelled best (docs/log.md).
    return images, real


def _surest_crops(context: Context, data: LongTailedData, teacher: Teacher | None) -> Tensor:
    """The crops of real images (C * IPC, channels, H, W) with the teacher's lowest cross-entropies."""
    assert teacher

    def cross_entropies(images: Tensor, label: int) -> Tensor:
        return -teacher.logits(images).log_softmax(dim=1)[:, label]

    start, draw = context.settings.initialize, generator(context.settings.seed, "initialize", "crops")
    of_class, most = context.settings.images_per_class, start.crop_images
    return surest_crops(data, of_class, most, start.crops, start.smallest_crop, cross_entropies, draw)


@torch.no_grad()
def _label_logits(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor], images: Tensor
) -> tuple[Tensor, int]:
    """For each image the mean logits (S, C) of the experts that classify it correctly; and for how many none does.

    Those get the logits of their class, as do all images where the settings or the method want hard labels. With
    `one_expert`, the logits are those of the first expert, and none are replaced.
    """
    classes = torch.arange(data.num_classes, device=images.device).repeat_interleave(context.settings.images_per_class)
    by_class = F.one_hot(classes, data.num_classes) * context.settings.initialize.class_logit
    if context.settings.initialize.labels == "class" or not context.settings.traits.learns_labels:
        return by_class, 0
    if context.settings.initialize.labels == "one_expert":
        return in_test_batches(network, experts[0], images), 0
    total, votes = torch.zeros_like(by_class), torch.zeros_like(by_class[:, :1])
    for theta in experts:
        logits = in_test_batches(network, theta, images)
        right = (logits.argmax(dim=1) == classes)[:, None].to(logits.dtype)
        total, votes = total + right * logits, votes + right
    known = votes > 0
    return torch.where(known, total / votes.clamp(min=1), by_class), int((~known).sum())
