"""The set that matching starts from: real images that an expert classifies correctly, labelled by the experts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.context import Context, generator
from engine.data.crops import surest_crops
from engine.data.dataset import LongTailedData, pick_real_images
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.events import Initialized, Warned
from engine.teachers import Teacher
from engine.training.accuracy import in_test_batches, predictions


def initialize(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor], teacher: Teacher | None = None
) -> Synthetic:
    """IPC images for each class, label logits (S, C) and the first beta, by the experts' last weights (P,) each.

    A method without experts gets random real images. Emits Initialized, and Warned where no expert knows an image.
    """
    settings = context.settings
    with context.stage("initialize", 1, "set"):
        chosen, images = _choose_images(context, data, network, experts)
        recovers = settings.traits.synthesis == "recovery"
        if recovers and teacher and settings.recovery.crops:
            images = _surest_crops(context, data, teacher)
        if teacher and (recovers or settings.initialize.labels == "teacher"):
            logits, unrecognized = teacher.logits(images), 0
        else:
            logits, unrecognized = _label_logits(context, data, network, experts, images, data.train_labels[chosen])
        rate = settings.matching.beta if settings.traits.matches_trajectories else settings.evaluate.real_learning_rate
        context.emit(Initialized(unrecognized))
        if unrecognized:
            what = f"no expert classifies {unrecognized} of the starting images correctly; they are labelled by class"
            context.emit(Warned(what, "more experts or more epochs would recognize them"))
    return Synthetic(images, logits, torch.tensor(rate, device=context.device))


def _choose_images(
    context: Context, data: LongTailedData, network: FlatNetwork, experts: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Indices (S,) of the train images that give the classes, and the images: those, or noise in their place."""
    draw = generator(context.settings.seed, "initialize")
    kind = context.settings.initialize.images if experts else "real"
    allowed = None
    if kind == "correct":
        judge = experts[int(torch.randint(len(experts), (), generator=draw))]
        allowed = (predictions(network, judge, data.train_images) == data.train_labels).cpu()
    chosen = pick_real_images(data, context.settings.ipc, draw, allowed)
    images = data.train_images[chosen].clone()
    if kind == "noise":
        images = torch.randn(images.shape, generator=draw).to(images.device)
    return chosen, images


def _surest_crops(context: Context, data: LongTailedData, teacher: Teacher) -> Tensor:
    """The crops of real images (C * IPC, channels, H, W) with the teacher's lowest cross-entropies."""

    def cross_entropies(images: Tensor, label: int) -> Tensor:
        return -teacher.logits(images).log_softmax(dim=1)[:, label]

    settings, own = context.settings, context.settings.recovery
    draw = generator(settings.seed, "initialize", "crops")
    return surest_crops(data, settings.ipc, own.crop_images, own.crops, own.smallest_crop, cross_entropies, draw)


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
