"""The set that a method starts from, or ends with: real images, and labels for them by experts or a teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context, generator
from engine.data.dataset import LongTailedData
from engine.data.selection import pick_real_images, select_real_images
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
    given: StartingSet | None = None,
) -> Synthetic:
    """IPC images for each class, label logits (S, C) and the first beta, by the experts' last weights (P,) each.

    Where stored images hold mini-images, each of those is another real image, and has a row of label logits.
    `teacher`: where it chooses the images or labels them. `given`: a set made elsewhere, whose images and rate, and
    with initialize.labels stored its labels, are taken instead. Emits Initialized, and Warned where no expert knows an
    image.
    """
    settings = context.settings
    with context.stage("initialize", 1, "set"):
        if given:
            images, seen = given.images, data.partition.decoded(given.images)
            classes = torch.arange(data.num_classes, device=context.device)
            classes = classes.repeat_interleave(settings.images_per_class)
        else:
            chosen, images = _choose_images(context, data, network, experts, teacher)
            classes = data.train_labels[chosen]
            # What a real image was before it was shrunk is labelled best (docs/log.md).
            is_noise = settings.starting_images == "noise"
            seen = data.partition.decoded(images) if is_noise else data.train_images[chosen]
        if given and given.label_logits is not None and settings.initialize.labels == "stored":
            logits, unrecognized = given.label_logits, 0
        elif settings.initialize.labels == "teacher" and teacher:
            logits, unrecognized = teacher.logits(seen), 0
        else:
            logits, unrecognized = _label_logits(context, data, network, experts, seen, classes)
        rate = settings.matching.beta if settings.traits.matches_trajectories else settings.evaluate.real_learning_rate
        rate = given.learning_rate if given and given.learning_rate else rate
        context.emit(Initialized(unrecognized))
        if unrecognized:
            what = f"no expert classifies {unrecognized} of the starting images correctly; they are labelled by class"
            context.emit(Warned(what, "more experts or more epochs would recognize them"))
    return Synthetic(images, logits, torch.tensor(rate, device=context.device))


def _choose_images(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor], teacher: Teacher | None
) -> tuple[Tensor, Tensor]:
    """Indices of the train images that give the classes, one a label, and the stored images (S, channels, H, W).

    Those hold the train images, or noise in their place.
    """
    kind, of_class = context.settings.starting_images, context.settings.images_per_class
    if kind != "correct" and kind != "real" and kind != "noise":  # so that mypy knows the rule
        assert teacher
        chosen = select_real_images(data, of_class, kind, teacher.features, teacher.logits)
        return chosen, data.partition.encoded(data.train_images[chosen])
    draw, allowed = generator(context.settings.seed, "initialize"), None
    if kind == "correct":
        judge = experts[int(torch.randint(len(experts), (), generator=draw))]
        allowed = (predictions(network, judge, data.train_images) == data.train_labels).cpu()
    chosen = pick_real_images(data, of_class, draw, allowed)
    images = data.partition.encoded(data.train_images[chosen])
    if kind == "noise":
        images = torch.randn(images.shape, generator=draw).to(images.device)
    return chosen, images


@torch.no_grad()
def _label_logits(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor], images: Tensor, classes: Tensor
) -> tuple[Tensor, int]:
    """For each image the mean logits (S, C) of the experts that classify it correctly; and for how many none does.

    Those get the logits of their class, as do all images where the settings or the method want hard labels. With
    `one_expert`, the logits are those of the first expert, and none are replaced.
    """
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
