"""The order of the stages and nothing else: read this first."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoints import DistillState, best_check, load_set, record_check, save_set
from engine.compilation import student_compiles
from engine.context import Context
from engine.data.dataset import LongTailedData, load_long_tailed
from engine.distilled import DistilledSet
from engine.losses import StudentLoss
from engine.matching.matcher import Matcher
from engine.matching.synthetic import Synthetic
from engine.nets import known_network
from engine.nets.functional import FlatNetwork
from engine.results.card import dataset_card
from engine.results.files import grid_png, save_preview, write_image_folder, write_tensor_trio
from engine.results.metrics import read_metrics, with_evaluation
from engine.run.errors import InputError
from engine.run.events import Evaluated, RunFinished
from engine.run.folder import write_atomically, write_json
from engine.run.metrics import MetricsJson
from engine.stages.distill import distill
from engine.stages.evaluate import Subject, evaluate, random_subject, synthetic_subject
from engine.stages.experts import representation_store, train_classifier_experts, train_experts
from engine.stages.export import export
from engine.stages.initialize import initialize
from engine.training.from_scratch import cost_of, fresh_network
from engine.trajectories import Trajectory


def run(context: Context) -> None:
    """From data to report; every stage goes on from what an interrupted worker left. Raises Stopped, RunFailed."""
    settings, method = context.settings, context.settings.traits
    with context.stage("data", 1, "set"):
        data = load_long_tailed(settings.dataset, settings.ipc, context.device, context.emit)
    network, _ = fresh_network(settings, data, settings.experts.network)
    representation: list[Trajectory] = []
    classifiers: list[Trajectory] = []
    if method.distills:
        representation = train_experts(context, data, network)
    if method.decoupled:
        store = representation_store(context, data)
        classifiers = train_classifier_experts(context, data, network, representation, store)
    start = initialize(context, data, network, _last_weights(network, representation, classifiers, context.device))
    evaluations = _evaluate_baselines(context, data, start)
    end = DistillState.at_start(start)
    if method.distills:
        loss = StudentLoss.of(method, settings.matching, data.class_counts, start.images)
        end = _distill_and_check(
            context,
            data,
            start,
            Matcher(
                settings.matching,
                method,
                network,
                representation,
                classifiers,
                loss,
                settings.dataset.augmentation,
                context.device,
                student_compiles(context, cost_of(settings, data, settings.experts.network)),
                context.emit,
            ),
        )
    evaluations += _evaluate_result(context, data, end)
    export(context, data, end.synthetic, evaluations, representation, classifiers)
    context.emit(RunFinished(evaluations[2].accuracy_mean, evaluations[2].accuracy_std))


def _last_weights(
    network: FlatNetwork, representation: list[Trajectory], classifiers: list[Trajectory], device: torch.device
) -> list[Tensor]:
    """The experts that choose and label the first images: classifier experts where there are any."""
    if not classifiers:
        return [expert.last.to(device) for expert in representation]
    pairs = zip(representation, classifiers, strict=True)
    return [torch.cat([expert.last[network.backbone], head.last]).to(device) for expert, head in pairs]


def _evaluate_baselines(context: Context, data: LongTailedData, start: Synthetic) -> list[Evaluated]:
    recipe = context.settings.evaluate
    subjects = [random_subject(context, data), synthetic_subject(context, "initialization", "set", 0, start)]
    with context.stage("baselines", len(subjects) * recipe.repeats, "networks") as progress:
        return [evaluate(context, data, subject, recipe.arch[0], recipe.repeats, progress) for subject in subjects]


def _distill_and_check(context: Context, data: LongTailedData, start: Synthetic, matcher: Matcher) -> DistillState:
    matching, recipe = context.settings.matching, context.settings.evaluate
    with context.stage("distill", matching.iterations, "iterations"):
        for state in distill(context, start, matcher):
            last = state.iteration == matching.iterations
            if last or state.iteration % matching.preview_every == 0:
                save_preview(context, data, state.synthetic, state.iteration)
            if last or state.iteration % recipe.every == 0:
                save_set(context.folder, state.iteration, state.synthetic)
                subject = synthetic_subject(context, "check", "check", state.iteration, state.synthetic)
                with context.clock.timed("evaluate"):
                    check = evaluate(context, data, subject, recipe.arch[0], recipe.check_repeats)
                record_check(context.folder, state.iteration, check.accuracy_mean)
            context.check_stop()
    return state


def _evaluate_result(context: Context, data: LongTailedData, end: DistillState) -> list[Evaluated]:
    """Final, best (the best check, with networks of its own), then final on the other architectures."""
    recipe = context.settings.evaluate
    final = synthetic_subject(context, "final", "set", end.iteration, end.synthetic)
    at = best_check(context.folder)
    best = (
        final
        if at is None
        else synthetic_subject(context, "best", "set", at, load_set(context.folder, at, context.device))
    )
    with context.stage("evaluate", (1 + len(recipe.arch)) * recipe.repeats, "networks") as progress:
        pairs = [(final, recipe.arch[0]), (best, recipe.arch[0]), *((final, arch) for arch in recipe.arch[1:])]
        return [evaluate(context, data, subject, arch, recipe.repeats, progress) for subject, arch in pairs]


# What can be asked of a finished run: how its set does on other networks, and its set in other forms.


def evaluate_architectures(context: Context, archs: list[str], repeats: int | None = None) -> None:
    """Evaluates the final set on each network and adds the figures to metrics.json and the card, one by one.

    Networks that were trained before are read back. Raises InputError for an unfinished run or an unknown network.
    """
    names = [known_network(name) for name in dict.fromkeys(arch.strip() for arch in archs)]
    repeats = context.settings.evaluate.repeats if repeats is None else repeats
    if repeats < 1:
        raise InputError(f"{repeats} networks cannot be evaluated", "--repeats", "give 1 or more")
    distilled, metrics = _finished(context)
    data = load_long_tailed(context.settings.dataset, context.settings.ipc, context.device, context.emit)
    subject = _final_subject(context, distilled, metrics)
    with context.stage("evaluate", len(names) * repeats, "networks") as progress:
        for name in names:
            metrics = with_evaluation(metrics, evaluate(context, data, subject, name, repeats, progress))
            _write(context, distilled, metrics)
    _write(context, distilled, metrics | {"stage_seconds": dict(context.clock.seconds)})
    context.emit(RunFinished(metrics["final"]["accuracy_mean"], metrics["final"]["accuracy_std"]))


def export_copies(context: Context, images: Path | None, pt: Path | None) -> None:
    """Writes an image folder, the .pt trio, or both; asked for neither, redraws result/grid.png and the card.

    Raises InputError for an unfinished run, or a folder that holds something else.
    """
    distilled, metrics = _finished(context)
    if images is not None:
        write_image_folder(images, distilled)
    if pt is not None:
        write_tensor_trio(pt, distilled)
    if images is None and pt is None:
        write_atomically(context.folder.grid, grid_png(distilled.pixels, distilled.ipc))
        _write(context, distilled, metrics)


def _finished(context: Context) -> tuple[DistilledSet, MetricsJson]:
    folder = context.folder
    if not folder.distilled.exists():
        raise InputError("the run has no result yet", str(folder.root), f"`ltdd-tui resume {folder.name}` finishes it")
    return DistilledSet.load(folder.distilled, context.device), read_metrics(folder)


def _final_subject(context: Context, distilled: DistilledSet, metrics: MetricsJson) -> Subject:
    """The set under the name and iteration that it had in the run, so that its networks there are found again."""
    beta = torch.tensor(distilled.learning_rate, device=context.device)
    final = Synthetic(distilled.images, distilled.label_logits, beta)
    return synthetic_subject(context, "final", "set", metrics["final"]["iteration"], final)


def _write(context: Context, distilled: DistilledSet, metrics: MetricsJson) -> None:
    write_json(context.folder.metrics, metrics)
    write_atomically(context.folder.card, dataset_card(metrics, distilled.about))
