"""Bounds of what a set can reach: networks trained on all long-tailed images, for a stated number of epochs.

Each trained network is kept in the run folder, and one under way after every epoch, so that an interrupted run goes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace

from engine.checkpoints import record_seconds, training_seconds
from engine.compilation import teacher_backend
from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.nets.functional import FlatNetwork, matmul_precision
from engine.run.compile_policy import compiling_teacher_pays
from engine.run.events import BOUND, Evaluated
from engine.run.folder import write_json
from engine.run.recipes import NetworkResult
from engine.run.settings import LongTailLoss
from engine.training.accuracy import per_class_accuracy, read_network_results, summary
from engine.training.from_scratch import cost_of, fresh_network
from engine.training.gradients import training_gradient
from engine.training.long_tailed import delete_checkpoint, long_tailed_training
from engine.training.sgd import Gradient


def evaluate_bounds(context: Context, data: LongTailedData, key: str = "bound") -> list[Evaluated]:
    """The accuracy of each of `settings.bounds.losses` on the first network of evaluations; emits each.

    `key` names the files of its networks: other settings than the run's need another one.
    """
    settings, bounds = context.settings, context.settings.bounds
    arch, device, images = settings.evaluate.arch[0], context.device, len(data.train_labels)
    pays = compiling_teacher_pays(settings, arch, cost_of(settings, data, arch), bounds.epochs, images, device.type)
    network, _ = fresh_network(settings, data, arch)

    @functools.cache
    def gradient() -> Gradient:
        compiled = teacher_backend(context, "bounds", arch, pays) != "eager"
        return training_gradient(network, 1, device, compiled, settings.teacher.precision, context.emit)

    events, total = [], len(bounds.losses) * bounds.networks

    with context.stage("bounds", total, "networks") as progress, matmul_precision(settings.teacher.precision, device):

        def epoch_done(epoch: int, mean_loss: float) -> None:
            progress.under_way(epoch / bounds.epochs)
            context.check_stop()

        for loss in bounds.losses:
            results = []
            for number in range(bounds.networks):
                results.append(_result(context, data, network, gradient, loss, number, epoch_done, key))
                progress()
            event = summary((f"{BOUND}{loss}", None, arch), results, data.groups, labels="")
            events.append(replace(event, seconds=training_seconds(context.folder).get(f"{key}-{loss}")))
            context.emit(events[-1])
    return events


def _result(
    context: Context,
    data: LongTailedData,
    network: FlatNetwork,
    gradient: Callable[[], Gradient],
    loss: LongTailLoss,
    number: int,
    epoch_done: Callable[[int, float], None],
    key: str,
) -> NetworkResult:
    """One network, trained and tested; read back where known."""
    settings, epochs = context.settings, context.settings.bounds.epochs
    path = context.folder.evaluations / f"{key}-{loss}-{number}.json"
    if known := read_network_results(path, data.num_classes, context.emit):
        return known[0]
    names = ("bound", loss, number)
    _, start = fresh_network(settings, data, settings.evaluate.arch[0], *names)
    training = long_tailed_training(settings, data, network, start, gradient(), loss, epochs, names)
    checkpoint = context.folder.checkpoint / f"{key}-{loss}-{number}.safetensors"
    resumed, began = checkpoint.exists(), time.monotonic()
    theta = training.run(f"bounds, {loss}, network {number + 1}", checkpoint, epoch_done, context.emit)
    seconds = time.monotonic() - began
    per_class = per_class_accuracy(network, theta, data.test_images, data.test_labels)
    result: NetworkResult = {"per_class": per_class.tolist(), "norms": network.classifier_norms(theta)}
    if not resumed:
        record_seconds(context.folder, f"{key}-{loss}", seconds)
    write_json(path, result, sealed=True)
    delete_checkpoint(checkpoint)
    return result
