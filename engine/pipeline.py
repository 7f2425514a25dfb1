"""The order of the stages, the checks in the middle of distillation, and later evaluations: read this first.

A run goes from a long-tailed data set to a small balanced one and its report. Each step below says why it is there and
which file does it; docs/method.md gives the symbols and formulas. Every stage writes what it has done into the run
folder or the cache and, called again, goes on from there: resuming a run is running it once more.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from engine.checkpoints import DistillState, best_check, load_set
from engine.context import Clock, Context
from engine.data.dataset import LongTailedData
from engine.distilled import describe, teacher_bytes
from engine.importing.imported_sets import load_starting_set
from engine.judging import JudgedStart, StartOf, choose_set, choose_start, distill_and_check, plain_selections
from engine.manifest import record_worker, versions
from engine.matching.recovery import Recovery
from engine.matching.synthetic import StartingSet, Synthetic
from engine.matching.warning_signs import warn_of_weak_experts
from engine.nets.functional import FlatNetwork
from engine.results.files import read_result, save_preview, write_confusion, write_metrics_and_card
from engine.results.metrics import stored_bytes, teacher_figures, with_evaluation, with_verdict
from engine.results.model import write_model
from engine.results.verdict import comparison_rows
from engine.resume import load_run_data
from engine.run.errors import InputError, RunFailed
from engine.run.events import Evaluated, RunFinished, Verdict, finite
from engine.run.fields import LabelRegime, NetworkName
from engine.run.folder import write_atomically
from engine.run.metrics import MetricsJson
from engine.run.recipes import known_network, known_regime
from engine.run.settings import RunSettings
from engine.scores import score_set
from engine.stages.bounds import evaluate_bounds
from engine.stages.distill import AnyMatcher, distribution_matcher, student_matcher
from engine.stages.evaluate import (
    EvaluationTarget,
    evaluate,
    first_network,
    random_target,
    summed_confusion,
    synthetic_target,
)
from engine.stages.experts import last_weights, train_or_load_experts
from engine.stages.export import export
from engine.stages.initialize import initialize, starting_set
from engine.stages.teacher import adjust_labels, train_teacher
from engine.teachers import Teacher
from engine.trajectories import Trajectory


@dataclass(frozen=True)
class Prepared:
    """What comes before a set: data, network of experts, experts, teacher and a set to start from, if there are any."""

    data: LongTailedData
    network: FlatNetwork
    representation: list[Trajectory]
    classifiers: list[Trajectory]
    experts: list[Tensor]
    teacher: Teacher | None
    imported: StartingSet | None


def prepare(context: Context) -> Prepared:
    """The data, the experts and the teacher, trained or from the cache; raises as `run`."""
    settings = context.settings

    # The long-tailed subset, whitened. All stages work on whitened images; pixels return in what is exported.
    # Those that the run began with: a checkpoint and baselines of other images would say nothing of these.
    with context.stage("data", 1, "set"):  # resume.py, data/dataset.py, data/whitening.py
        data = load_run_data(context)
        # A set made elsewhere, in place of real images; refused here, before any hours are spent (imported_sets.py).
        imported = load_starting_set(context, data)
    # Experts show how real images move a network's weights, which is what the synthetic images have to reproduce.
    # Trained on the long tail, they are biased to its head; a decoupled method (LTDD) therefore trains the classifier
    # of each one again on class-balanced batches.
    network, representation, classifiers = train_or_load_experts(context, data)  # stages/experts.py
    debiased = last_weights(network, representation, classifiers, context.device)
    # A method starts by the experts that it matches, whatever a teacher is made of beside them.
    own = settings.traits.decoupled or not classifiers
    experts = debiased if own else last_weights(network, representation, [], context.device)
    # A debiased teacher labels images better than they can be labelled by their class (stages/teacher.py).
    teacher = train_teacher(context, data, network, classifiers, debiased) if settings.needs_teacher else None
    return Prepared(data, network, representation, classifiers, experts, teacher, imported)


class Start(NamedTuple):
    """The set that a run starts from; the teacher, adjusted by what is seen on it; and how the set was chosen."""

    synthetic: Synthetic
    teacher: Teacher | None
    judged: JudgedStart | None = None


def _starting_set(context: Context, prepared: Prepared, kept: Synthetic | None = None) -> Start:
    """What a run starts from; `kept` is that set, where it is known."""
    data, teacher, settings = prepared.data, prepared.teacher, context.settings
    # Labels are adjusted by the start that the settings ask for, before another one was chosen or its images rounded.
    other = settings.tries_starts or settings.export.images == "uint8"
    reuse = not (other and settings.teacher.label_adjustment != "none")
    # Matching starts from real images, labelled by the mean logits of experts or of a teacher (stages/initialize.py).
    given = prepared.network, prepared.experts, teacher, prepared.imported
    start = kept if kept and reuse else initialize(context, data, *given)
    if teacher is not None:
        # Labels of a teacher that leans to some classes by their images would teach that too. Kept ones are adjusted.
        adjusted, teacher = adjust_labels(context, data, teacher, start)  # stages/teacher.py
        start = kept or adjusted
    if kept or not (data.chooses and settings.traits.distills):
        return Start(start, teacher)
    # By validation images, another start may be better (judging.py).
    judged = choose_start(context, data, start, teacher, _start_of(context, prepared, teacher))
    return Start(judged.synthetic, teacher, judged)


def _start_of(context: Context, prepared: Prepared, teacher: Teacher | None) -> StartOf:
    """How other settings would have the run start, from the same experts and teacher."""

    def start_of(settings: RunSettings, data: LongTailedData) -> Synthetic:
        return starting_set(replace(context, settings=settings), data, prepared.network, prepared.experts, teacher)[0]

    return start_of


def run(context: Context) -> None:
    """Does all stages of a run, each from where an interrupted worker left it.

    Raises Stopped at a safe point after a stop request, InputError for data that does not fit the settings, RunFailed
    if distillation diverges or a checkpoint is damaged.
    """
    settings, prepared = context.settings, prepare(context)
    data = prepared.data
    record_worker(context)  # before, it has written into the cache alone (manifest.py)
    # The experts are in the cache by now, where the other ranks of a gang find them.
    order = {"settings": settings.model_dump(mode="json"), "images": data.fingerprint, "versions": versions()}
    context.gang.send(json.dumps(order).encode())

    start, teacher, judged = _starting_set(context, prepared)

    # What matching has to beat. Measured before it, so that a hopeless start shows before the hours are spent.
    selections = plain_selections(context, data, teacher, _start_of(context, prepared, teacher))
    baselines = _evaluate_baselines(context, data, start, teacher, selections)  # stages/evaluate.py

    matched = prepared.classifiers if settings.traits.decoupled else prepared.representation
    if settings.traits.matches_trajectories:
        warn_of_weak_experts(matched, baselines[0].accuracy_mean, context.emit)

    # Distillation: the synthetic images, labels and step size follow the gradient of the matching loss.
    end, validation = DistillState.at_start(start), None  # a method that does not distill ends where it starts
    if settings.traits.distills:
        matcher = _matcher(context, prepared, start, teacher)
        end = distill_and_check(context, data, start, matcher, teacher)  # judging.py, stages/distill.py
        if judged:
            # Never worse than its start, as far as validation images can tell (judging.py).
            end, validation = choose_set(context, data, end, judged, teacher)
            save_preview(context, data, end.result, end.iteration)
    else:
        save_preview(context, data, start, 0)

    # The verdict: fresh networks, trained only on the synthetic set and tested on the balanced test set.
    results, confusion = _evaluate_result(context, data, end, teacher)

    # What there is to reach at all, by networks that see every image.
    bounds = evaluate_bounds(context, data) if settings.bounds.losses else []  # stages/bounds.py

    if settings.export.model:
        with context.clock.timed("export"):
            _write_model(context, data, end.iteration, end.result, teacher, describe(settings, data))

    # The result folder: the set, its figures, a picture and a card (stages/export.py).
    beside = prepared.representation, prepared.classifiers, confusion, teacher, validation, end.recovered
    export(context, data, end.result, baselines + results + bounds, *beside)
    context.emit(RunFinished(results[0].accuracy_mean, results[0].accuracy_std))


def _evaluate_baselines(
    context: Context,
    data: LongTailedData,
    start: Synthetic,
    teacher: Teacher | None,
    selections: Sequence[EvaluationTarget] = (),
) -> list[Evaluated]:
    """Evaluations of random real images and of the starting set, in each label regime, then of plain selections."""
    recipe = context.settings.evaluate
    by_regime = (_baseline_targets(context, data, start, regime, teacher) for regime in recipe.labels)
    targets = [*itertools.chain.from_iterable(by_regime), *selections]
    with context.stage("baselines", len(targets) * recipe.repeats, "networks") as progress:
        return [evaluate(context, data, target, recipe.arch[0], recipe.repeats, progress) for target in targets]


def _baseline_targets(
    context: Context, data: LongTailedData, start: Synthetic, regime: LabelRegime, teacher: Teacher | None
) -> list[EvaluationTarget]:
    """Random real images and the starting set, in one label regime."""
    return [
        random_target(context, data, regime, teacher),
        synthetic_target(context, data, "initialization", "set", 0, start, regime, teacher),
    ]


def _matcher(context: Context, prepared: Prepared, start: Synthetic, teacher: Teacher | None) -> AnyMatcher | Recovery:
    """What an iteration follows: experts, the features of real images, or a teacher's statistics of them."""
    settings, data, network = context.settings, prepared.data, prepared.network
    if settings.traits.synthesis == "recovery" and teacher:
        mirrors = "flip" in settings.dataset.augmentation
        return Recovery(settings.recovery, settings.matching.iterations, teacher, data, mirrors)  # matching/recovery.py
    if settings.traits.matches_distributions:
        return distribution_matcher(context, data, network)  # matching/distribution.py
    return student_matcher(context, data, network, prepared.representation, prepared.classifiers, start)


def _evaluate_result(
    context: Context, data: LongTailedData, end: DistillState, teacher: Teacher | None
) -> tuple[list[Evaluated], list[list[int]] | None]:
    """Evaluations in the first label regime of the final set, of the best-checked one, then of the final set on each
    further architecture; then of the final set in the other regimes. Also the confusion matrix of the first one.
    """
    recipe = context.settings.evaluate
    arch, *further_archs = recipe.arch
    final, *in_other_regimes = (
        synthetic_target(context, data, "final", "set", end.iteration, end.result, regime, teacher)
        for regime in recipe.labels
    )
    best, best_iteration = final, best_check(context.folder)
    # What is chosen by validation images is the final set itself.
    if best_iteration is not None and not data.chooses:
        # Measured with networks of its own: those of the check were what it was chosen by, and flatter it.
        best_set = load_set(context.folder, best_iteration, context.device)
        best = synthetic_target(context, data, "best", "set", best_iteration, best_set, recipe.labels[0], teacher)
    pairs = [(final, arch), (best, arch), *((final, other) for other in further_archs)]
    pairs += [(target, arch) for target in in_other_regimes]
    with context.stage("evaluate", len(pairs) * recipe.repeats, "networks") as progress:
        evaluations = [evaluate(context, data, target, arch, recipe.repeats, progress) for target, arch in pairs]
    return evaluations, summed_confusion(context, data, final, arch, recipe.repeats)


# ---- A finished run, evaluated again: on further networks, over more of them, or in further label regimes ----


def evaluate_again(
    context: Context, archs: Sequence[str] | None, repeats: int | None = None, labels: Sequence[str] | None = None
) -> None:
    """Evaluates a finished run's set once more; adds each result to metrics.json and the card at once.

    archs: the networks, by default the run's first one. repeats: networks of each kind, by default the run's number.
    labels: label regimes, in each of which random images and the start are evaluated as well, on the run's first
    network; by default the run's first regime, with the final set alone. What was evaluated before is read back.
    Raises InputError for an unfinished run, an unknown network or regime, or data that has changed since the run.
    """
    names = None if archs is None else [known_network(name) for name in dict.fromkeys(map(str.strip, archs))]
    regimes = None if labels is None else [known_regime(name) for name in dict.fromkeys(map(str.strip, labels))]
    repeats = context.settings.evaluate.repeats if repeats is None else repeats
    if repeats < 1:
        raise InputError(f"{repeats} networks cannot be evaluated", "--repeats", "give 1 or more")
    distilled, metrics = read_result(context.folder, context.device)
    first: LabelRegime = metrics.get("labels") or "stored"
    own, context = context.settings, _evaluated_in(context, tuple(regimes or [first]))
    final = distilled.synthetic
    start = _kept_start(context, final)
    by_teacher = regimes is not None and context.settings.teacher_labels_start
    if "online" in context.settings.evaluate.labels or by_teacher or (regimes is not None and start is None):
        prepared = prepare(context)
        data = prepared.data
        # By the run's own settings: it has chosen its start in its own first regime.
        start, teacher, _ = _starting_set(replace(context, settings=own), prepared, start)
    else:
        data, teacher = load_run_data(context), None
    if teacher or not metrics.get("stored_bytes"):
        metrics |= _figures_of_teacher(context, data, teacher)
    if teacher and "online" in context.settings.evaluate.labels:
        write_atomically(context.folder.teacher, teacher_bytes(context.settings, data, teacher))

    first_arch: NetworkName = metrics["arch"]
    pairs = []
    for regime in context.settings.evaluate.labels:
        if regimes is not None and start is not None:
            pairs += [(target, first_arch) for target in _baseline_targets(context, data, start, regime, teacher)]
        # Under the key and iteration that the set had in the run, so that the networks trained there are read back.
        at = metrics["final"]["iteration"]
        target = synthetic_target(context, data, "final", "set", at, final, regime, teacher)
        pairs += [(target, arch) for arch in names or [first_arch]]
    with context.stage("evaluate", len(pairs) * repeats, "networks") as progress:
        for target, arch in pairs:
            result = evaluate(context, data, target, arch, repeats, progress)
            metrics = with_verdict(with_evaluation(metrics, result, data.test_counts))
            write_metrics_and_card(context.folder, metrics, distilled.about)
            is_final = (result.subject, result.labels, arch) == ("final", first, first_arch)
            if is_final and metrics["final"]["repeats"] == result.repeats:
                confusion = summed_confusion(context, data, target, arch, result.repeats)
                write_confusion(context.folder, data.class_names, confusion)
    if metrics.get("verdict"):
        context.emit(Verdict(**metrics["verdict"], rows=comparison_rows(metrics)))
    context.emit(RunFinished(metrics["final"]["accuracy_mean"], metrics["final"]["accuracy_std"]))


def keep_teacher(context: Context) -> None:
    """Writes result/teacher.safetensors of a finished run; the teacher is trained where the cache has none.

    Raises InputError for an unfinished run, or data that has changed since the run.
    """
    distilled, metrics = read_result(context.folder, context.device)
    own, context = context.settings, _evaluated_in(context, ("online",))
    data, teacher = _data_and_teacher(context, distilled.synthetic, own)
    assert teacher is not None, "the online regime has a teacher"
    write_atomically(context.folder.teacher, teacher_bytes(context.settings, data, teacher))
    metrics |= _figures_of_teacher(context, data, teacher)
    write_metrics_and_card(context.folder, metrics, distilled.about)


def keep_model(context: Context) -> None:
    """Writes result/model.pt2 of a finished run: the first network of its evaluation, trained once more.

    Raises InputError for an unfinished run, or data that has changed since the run.
    """
    distilled, metrics = read_result(context.folder, context.device)
    regime: LabelRegime = metrics.get("labels") or "stored"
    context, final = _evaluated_in(context, (regime,)), distilled.synthetic
    if regime == "online":
        data, teacher = _data_and_teacher(context, final, context.settings)
    else:
        data, teacher = load_run_data(context), None
    _write_model(context, data, metrics["final"]["iteration"], final, teacher, distilled.about)
    write_metrics_and_card(context.folder, metrics, distilled.about)


def _write_model(
    context: Context,
    data: LongTailedData,
    iteration: int,
    final: Synthetic,
    teacher: Teacher | None,
    about: dict[str, Any],
) -> None:
    """Keeps the first network of the final set's evaluation, as a program of PyTorch; `about`: as of `describe`."""
    recipe = context.settings.evaluate
    target = synthetic_target(context, data, "final", "set", iteration, final, recipe.labels[0], teacher)
    network, theta = first_network(context, data, target, recipe.arch[0])
    write_model(context.folder.model, network.with_weights(theta), data.whitening, about)


def _data_and_teacher(context: Context, final: Synthetic, own: RunSettings) -> tuple[LongTailedData, Teacher | None]:
    """The data of a finished run, and its teacher by the run's `own` settings, less the tau of the start."""
    prepared, kept = prepare(context), _kept_start(context, final)
    return prepared.data, _starting_set(replace(context, settings=own), prepared, kept).teacher


def _figures_of_teacher(context: Context, data: LongTailedData, teacher: Teacher | None) -> MetricsJson:
    """What metrics.json says of a teacher, and of the bytes that have to be kept."""
    figures = teacher_figures(context.settings, data, teacher)
    kept = stored_bytes(context.settings, data, teacher, context.folder)
    return {"teacher": figures and finite(figures.model_dump()), "stored_bytes": kept.model_dump()}


def score(context: Context, repeats: int) -> None:
    """Scores a finished run's set by LRS and ARS; writes result/scores.json. What was trained before is read back.

    repeats: networks for each accuracy. Raises InputError for an unfinished run, or data that has changed since.
    """
    if repeats < 1:
        raise InputError(f"{repeats} networks cannot be evaluated", "--repeats", "give 1 or more")
    distilled, metrics = read_result(context.folder, context.device)
    regime: LabelRegime = metrics.get("labels") or "stored"
    context, final = _evaluated_in(context, (regime,)), distilled.synthetic
    # A teacher labels batches online, and in the stored regime the random images, where it has labelled the set.
    if regime == "online" or context.settings.teacher_labels_start:
        data, teacher = _data_and_teacher(context, final, context.settings)
    else:
        data, teacher = load_run_data(context), None
    score_set(context, data, final, teacher, metrics, repeats)
    context.emit(RunFinished(metrics["final"]["accuracy_mean"], metrics["final"]["accuracy_std"]))


def _evaluated_in(context: Context, regimes: tuple[LabelRegime, ...]) -> Context:
    """The context of a finished run whose settings name these regimes, so that it has a teacher where they need one.

    Its clock is another one: the run's own seconds stay as they were.
    """
    evaluation = context.settings.evaluate.model_copy(update={"labels": regimes})
    settings = context.settings.model_copy(update={"evaluate": evaluation})
    return replace(context, settings=settings, clock=Clock(None))


def _kept_start(context: Context, final: Synthetic) -> Synthetic | None:
    """The set that the run began with, where it needs no experts: kept by a check, or the final set itself."""
    if not context.settings.traits.distills:
        return final
    try:
        return load_set(context.folder, 0, context.device)
    except RunFailed:
        return None
