"""The order of the stages and nothing else: read this first."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.checkpoints import DistillState, best_check, load_set, record_check, save_set
from engine.compiling import student_compiles
from engine.context import Context
from engine.data.dataset import LongTailedData, load_long_tailed
from engine.losses import StudentLoss
from engine.matching.batches import Synthetic
from engine.matching.iteration import Matcher
from engine.nets.flat import FlatNetwork
from engine.preview import save_preview
from engine.run.events import Evaluated, RunFinished
from engine.stages.classifier_experts import train_classifier_experts
from engine.stages.distill import distill
from engine.stages.evaluate import evaluate, random_subject, synthetic_subject
from engine.stages.experts import representation_store, train_experts
from engine.stages.export import export
from engine.stages.initialize import initialize
from engine.training.fresh import cost_of, fresh_network
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
