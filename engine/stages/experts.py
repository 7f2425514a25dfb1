"""Experts: networks trained on the long-tailed images, recorded at every epoch that matching reads again.

Representation experts train all weights (docs/method.md section 2). Where the method is decoupled, each then gets a
classifier expert: its backbone frozen, its classifier trained on class-balanced batches. Both kinds come from the
cache if an earlier run has trained the same ones.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from engine.compilation import experts_backend
from engine.context import Context, generator
from engine.data.dataset import LongTailedData
from engine.manifest import check_cached, origin_here
from engine.nets.functional import FlatNetwork, Forward, matmul_precision
from engine.run.compile_policy import StepBackend, compiling_experts_pays
from engine.run.errors import InputError
from engine.run.events import ExpertDone, ExpertEpoch, ExpertKind, Warned
from engine.run.expert_cache import (
    ABOUT,
    TRAINING_VERSION,
    ImportedExperts,
    about_classifier,
    about_representation,
    classifier_epochs,
    classifiers_trained_alike,
    imported_faults,
    origin_of,
    representation_epochs,
    trained_alike,
)
from engine.run.folder import read_typed
from engine.run.manifest import Origin
from engine.run.settings import settings_hash
from engine.training.accuracy import balanced, class_figures, in_test_batches
from engine.training.batches import TrainingStream, augmented_batches, augmented_blocks, class_aware_batches
from engine.training.from_scratch import cost_of, fresh_network
from engine.training.gradients import classifier_gradient, features_function, training_gradient
from engine.training.groups import group_size, in_groups
from engine.training.sgd import Batch, Gradient, Gsam, Sgd, Step, TrainingState, refuse_divergence, train_epoch
from engine.trajectories import ExpertStore, Recorder, Trajectory


def train_or_load_experts(
    context: Context, data: LongTailedData, only: Sequence[int] | None = None
) -> tuple[FlatNetwork, list[Trajectory], list[Trajectory]]:
    """Their network, the representation experts and the classifier experts, as far as the run needs them.

    only: the numbers of those that are wanted, while other processes train others.
    """
    settings = context.settings
    network, _ = fresh_network(settings, data, settings.experts.network)
    representation = train_experts(context, data, network, only) if settings.trains_experts else []
    decouples = settings.trains_classifier_experts
    classifiers = train_classifier_experts(context, data, network, representation, only) if decouples else []
    return network, representation, classifiers


# --- Representation experts -------------------------------------------------------------------------------------------


def representation_store(context: Context, data: LongTailedData) -> ExpertStore:
    """The cache of these experts, under the hash of everything we know to change their bytes; or imported ones."""
    experts = context.settings.experts
    return ExpertStore(experts.imported or _trained_here_key(context, data), experts.storage, context.emit)


def _trained_here_key(context: Context, data: LongTailedData) -> str:
    settings = context.settings
    own, augmentation = trained_alike(settings), list(settings.dataset.augmentation)
    # Compiled and eager steps round differently, and so do devices: each has experts of its own.
    machine = (context.device.type, _step_backend(context, data))
    return settings_hash(TRAINING_VERSION, data.fingerprint, augmentation, own, settings.seed, *machine)


def train_experts(
    context: Context, data: LongTailedData, network: FlatNetwork, only: Sequence[int] | None = None
) -> list[Trajectory]:
    """All representation experts, weights (epochs kept + 1, P) each, from the cache if they are there.

    only: the numbers of those that are wanted, while other processes train others.
    """
    settings, last_epoch = context.settings.experts, representation_epochs(context.settings)
    images, cost = len(data.train_labels), cost_of(context.settings, data, settings.network)
    group = group_size(settings.num_experts, cost, min(images, settings.batch_size), context.device)
    backend, device_type = _step_backend(context, data), context.device.type

    @functools.cache
    def gradient(at_once: int) -> Gradient:
        compiled = backend != "eager"
        return training_gradient(network, at_once, context.device, compiled, settings.precision, context.emit)

    def train(experts: Sequence[int]) -> list[Trajectory]:
        with matmul_precision(settings.precision, context.device):
            # One gradient serves all groups of two or more, so that it is compiled once.
            return _train_group(context, data, network, gradient(min(2, len(experts))), experts, last_epoch)

    store = representation_store(context, data)
    if settings.imported is not None:
        return _imported(context, data, network, store, last_epoch)
    pays = compiling_experts_pays(context.settings, cost, images, device_type)
    store.describe(about_representation(context.settings, device_type, data.class_counts, backend, pays))
    count, here = settings.num_experts, origin_here(context.device, compiled=backend != "eager")
    return _load_or_train(
        context, "representation", store, here, count, last_epoch, group, train, gradient.cache_clear, only
    )


def _imported(
    context: Context, data: LongTailedData, network: FlatNetwork, store: ExpertStore, last_epoch: int
) -> list[Trajectory]:
    """Experts that were trained elsewhere, with their accuracies on the run's test images.

    Raises InputError where they are not in the cache, or do not fit.
    """
    if faults := imported_faults(context.settings):
        raise InputError(faults)
    count, experts = context.settings.experts.num_experts, list[Trajectory]()
    with context.stage("experts", count, "experts") as progress, store.locked(context):
        about = read_typed(store.folder / ABOUT, ImportedExperts)
        tested_on = about and about.tested_on
        for number in range(count):
            expert = store.load(number, last_epoch)
            if expert is None:
                what, hint = f"expert {number} is missing, or damaged", "`ltdd-tui import-experts` imports them again"
                raise InputError(what, str(store.path(number)), hint)
            if (parameters := expert.weights.shape[1]) != network.num_parameters:
                what = f"they have {parameters:,} parameters, the run's network {network.num_parameters:,}"
                raise InputError(what, f"experts.imported {store.key}", "they were trained on other images or classes")
            if tested_on != data.fingerprint:
                last = expert.last.to(context.device)
                own = class_figures(network, last, data.test_images, data.test_labels)
                expert = replace(expert, per_class=own.per_class, confidence=own.confidence)
            experts.append(expert)
            context.emit(_expert_done("representation", number, True, expert))
            progress()
    what = f"the experts were trained elsewhere ({store.key}); what the settings say of their training is not theirs"
    context.emit(Warned(what, f"{store.folder / ABOUT} says where they are from"))
    return experts


def _step_backend(context: Context, data: LongTailedData) -> StepBackend:
    cost = cost_of(context.settings, data, context.settings.experts.network)
    return experts_backend(context, cost, len(data.train_labels))


def _train_group(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    gradient: Gradient,
    experts: Sequence[int],
    last_epoch: int,
) -> list[Trajectory]:
    """Trains these experts together, from fresh weights, by SGD or GSAM; epochs 0 to `last_epoch` are recorded."""
    settings, seed = context.settings.experts, context.settings.seed
    # Weights and order are seeded per expert, so that no expert depends on which others are trained beside it.
    names = [("representation", expert) for expert in experts]
    weights = [fresh_network(context.settings, data, settings.network, *of_expert)[1] for of_expert in names]
    draws = [generator(seed, *of_expert, "order") for of_expert in names]
    state = TrainingState.started(weights, [settings.learning_rate] * len(experts))
    step = Step(state, gradient, Sgd(settings.momentum, settings.weight_decay), _gsam(context, settings.optimizer))
    recorder = Recorder(state.theta, last_epoch)
    streams = [
        TrainingStream.shuffled(data.train_images, data.train_labels, settings.batch_size, settings.epochs, draw)
        for draw in draws
    ]
    batches = augmented_batches(streams, context.settings.dataset.augmentation)
    steps = -(-len(data.train_labels) // settings.batch_size)
    _train_epochs(context, "representation", experts, settings.epochs, step, batches, steps, recorder)
    results = [class_figures(network, theta, data.test_images, data.test_labels) for theta in state.theta]
    return recorder.finish(state.theta, results, [network.classifier_norms(theta) for theta in state.theta])


# --- Classifier experts -----------------------------------------------------------------------------------------------


def classifier_store(context: Context, data: LongTailedData) -> ExpertStore:
    """The cache of the classifier experts."""
    settings = context.settings
    # The key of imported experts does not say which images, seed and device the classifiers are trained with.
    trained_here = [] if settings.experts.imported is None else [_trained_here_key(context, data)]
    own = representation_store(context, data).key, classifiers_trained_alike(settings), *trained_here
    return ExpertStore(settings_hash(*own), settings.experts.storage, context.emit)


def train_classifier_experts(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    representation: list[Trajectory],
    only: Sequence[int] | None = None,
) -> list[Trajectory]:
    """One classifier expert for each representation expert, whose last backbone it keeps frozen.

    only: the numbers of the representation experts, where these are not all.

    Their weights (epochs kept + 1, classifier parameters) start at the representation expert's last classifier.
    """
    settings, last_epoch = context.settings, classifier_epochs(context.settings)
    store = classifier_store(context, data)
    store.describe(about_classifier(settings, representation_store(context, data).key))
    compiled = _step_backend(context, data) != "eager"
    features = features_function(network, context.device, compiled)
    gradient = classifier_gradient(network, context.device, context.emit)
    by_number = dict(zip(range(len(representation)) if only is None else only, representation, strict=True))

    def train(experts: Sequence[int]) -> list[Trajectory]:
        starts = [(expert, by_number[expert].last.to(context.device)) for expert in experts]
        return [_train_classifier(context, data, network, features, gradient, *start, last_epoch) for start in starts]

    # One at a time: nearly all of the work is computing features, and those come in large batches as it is.
    here = origin_here(context.device, compiled)
    return _load_or_train(context, "classifier", store, here, len(representation), last_epoch, 1, train, only=only)


def _train_classifier(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    features: Forward,
    gradient: Gradient,
    expert: int,
    start: Tensor,
    last_epoch: int,
) -> Trajectory:
    """One classifier expert, from the last weights (P,) of its representation expert."""
    settings = context.settings.classifier_experts
    state = TrainingState.started([start[network.classifier]], [settings.learning_rate])
    step = Step(state, gradient, Sgd(settings.momentum, settings.weight_decay), _gsam(context, settings.optimizer))
    recorder = Recorder(state.theta, last_epoch)
    batches = _feature_batches(context, data, features, expert, start)
    # A class-balanced epoch shows every class as often as the largest one has images.
    steps = -(-max(data.class_counts) * data.num_classes // settings.batch_size)
    _train_epochs(context, "classifier", [expert], settings.epochs, step, batches, steps, recorder)
    theta = torch.cat([start[network.backbone], state.theta[0]])
    result = class_figures(network, theta, data.test_images, data.test_labels)
    return recorder.finish(state.theta, [result], [network.classifier_norms(theta)])[0]


def _feature_batches(
    context: Context, data: LongTailedData, features: Forward, expert: int, start: Tensor
) -> Iterator[Batch]:
    """What the classifier sees at each step, features (1, B, F), and the labels (1, B).

    Features depend on the augmentation, so they are computed anew each time, some steps ahead. The backbone is frozen,
    so nothing is differentiated through them.
    """
    settings, labels = context.settings.classifier_experts, data.train_labels.cpu()
    draws = generator(context.settings.seed, "classifier", expert, "order")
    epochs = (
        class_aware_batches(labels, data.num_classes, settings.images_per_turn, settings.batch_size, draws)
        for _ in range(settings.epochs)
    )
    stream = TrainingStream(data.train_images, data.train_labels, itertools.chain.from_iterable(epochs), draws)
    for block in augmented_blocks([stream], context.settings.dataset.augmentation):
        images = [images[0] for images, _ in block]
        computed = in_test_batches(features, start, torch.cat(images)).split([len(own) for own in images])
        yield from ((own[None], targets) for own, (_, targets) in zip(computed, block, strict=True))


# --- What both kinds share --------------------------------------------------------------------------------------------


def _gsam(context: Context, optimizer: Literal["gsam", "sgd"]) -> Gsam | None:
    settings = context.settings.experts
    return Gsam(settings.gsam_rho, settings.gsam_alpha) if optimizer == "gsam" else None


def last_weights(
    network: FlatNetwork, representation: list[Trajectory], classifiers: list[Trajectory], device: torch.device
) -> list[Tensor]:
    """Each expert's complete weights (P,) after its last epoch, under its classifier expert if there is one."""
    if not classifiers:
        return [expert.last.to(device) for expert in representation]
    pairs = zip(representation, classifiers, strict=True)
    return [torch.cat([expert.last[network.backbone], classifier.last]).to(device) for expert, classifier in pairs]


def _train_epochs(
    context: Context,
    kind: ExpertKind,
    experts: Sequence[int],
    epochs: int,
    step: Step,
    batches: Iterator[Batch],
    steps: int,
    recorder: Recorder,
) -> None:
    """Trains `epochs` epochs of `steps` steps, and after each one records the weights and emits the mean losses."""
    for epoch in range(1, epochs + 1):
        losses = train_epoch(step, itertools.islice(batches, steps))
        where, block = f"{kind} experts, epoch {epoch}", "experts" if kind == "representation" else "classifier_experts"
        refuse_divergence(losses, step.state.theta, where, f"{block}.learning_rate")
        recorder.record(step.state.theta)
        for expert, loss in zip(experts, losses, strict=True):
            context.emit(ExpertEpoch(kind, expert, epoch, epochs, loss))
        context.check_stop()


def _expert_done(kind: ExpertKind, number: int, cached: bool, expert: Trajectory) -> ExpertDone:
    per_class, norms = expert.per_class, expert.norms
    confidence = [] if expert.confidence is None else expert.confidence.tolist()
    return ExpertDone(kind, number, cached, balanced(per_class), per_class.tolist(), norms.tolist(), confidence)


def _load_or_train(
    context: Context,
    kind: ExpertKind,
    store: ExpertStore,
    here: Origin,
    count: int,
    last_epoch: int,
    group: int,
    train: Callable[[Sequence[int]], list[Trajectory]],
    release: Callable[[], object] = lambda: None,
    only: Sequence[int] | None = None,
) -> list[Trajectory]:
    """`count` experts, or `only` those of some numbers, from the cache if epochs 0 to `last_epoch` are there.

    `train` makes the others, `group` at once, of the origin `here`.
    Each group is on disk before the next one begins, so that an interruption loses one group at most. `release` frees
    what was compiled for a group that does not fit into a GPU's memory.
    """
    stage = "experts" if kind == "representation" else "classifier_experts"
    wanted = range(count) if only is None else only
    # Of a task that trains some numbers alone, others may be at work beside it in the same folder.
    held = store.locked(context) if only is None else contextlib.nullcontext()
    with context.stage(stage, len(wanted), "experts") as progress, held:
        experts = {expert: cached for expert in wanted if (cached := store.load(expert, last_epoch))}
        check_cached(context, f"{kind} experts", [origin_of(store.path(expert)) for expert in experts], here)

        def done(expert: int, cached: bool) -> None:
            context.emit(_expert_done(kind, expert, cached, experts[expert]))
            progress()

        for expert in list(experts):
            done(expert, cached=True)
        missing = [expert for expert in wanted if expert not in experts]
        for members, trained in in_groups(context, missing, group, train, release):
            for expert, trajectory in zip(members, trained, strict=True):
                store.save(expert, trajectory, here)
                # Read back: mapped from its file it leaves memory, and this run sees the same bytes as later ones.
                experts[expert] = store.load(expert, last_epoch) or trajectory
                done(expert, cached=False)
    return [experts[expert] for expert in wanted]
