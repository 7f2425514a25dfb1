"""A finished run, evaluated again: on further networks, over more of them, or in further label regimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from engine.checkpoints import load_set
from engine.context import Context
from engine.matching.synthetic import Synthetic
from engine.pipeline import baseline_targets, prepare
from engine.results.files import read_result, write_confusion, write_metrics_and_card
from engine.results.metrics import stored_bytes, teacher_figures, with_evaluation
from engine.resume import load_run_data
from engine.run.errors import InputError, RunFailed
from engine.run.events import RunFinished, finite
from engine.run.settings import LabelRegime, NetworkName
from engine.run.validation import known_network, known_regime
from engine.stages.evaluate import evaluate, summed_confusion, synthetic_target
from engine.stages.initialize import initialize


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
    context = _evaluated_in(context, tuple(regimes or [first]))
    beta = torch.tensor(distilled.learning_rate, device=context.device)
    final = Synthetic(distilled.images, distilled.label_logits, beta)
    start = _kept_start(context, final)
    by_teacher = regimes is not None and context.settings.initialize.labels == "teacher"
    if "online" in context.settings.evaluate.labels or by_teacher or (regimes is not None and start is None):
        prepared = prepare(context)
        data, teacher = prepared.data, prepared.teacher
        start = start or initialize(context, data, prepared.network, prepared.experts, teacher)
    else:
        data, teacher = load_run_data(context), None
    if teacher or not metrics.get("stored_bytes"):
        kept = stored_bytes(context.settings, data, teacher).model_dump()
        of_teacher = teacher_figures(context.settings, data, teacher)
        metrics |= {"teacher": of_teacher and finite(of_teacher.model_dump()), "stored_bytes": kept}

    first_arch: NetworkName = metrics["arch"]
    pairs = []
    for regime in context.settings.evaluate.labels:
        if regimes is not None and start is not None:
            pairs += [(target, first_arch) for target in baseline_targets(context, data, start, regime, teacher)]
        # Under the key and iteration that the set had in the run, so that the networks trained there are read back.
        at = metrics["final"]["iteration"]
        target = synthetic_target(context, "final", "set", at, final, regime, teacher)
        pairs += [(target, arch) for arch in names or [first_arch]]
    with context.stage("evaluate", len(pairs) * repeats, "networks") as progress:
        for target, arch in pairs:
            result = evaluate(context, data, target, arch, repeats, progress)
            metrics = with_evaluation(metrics, result, data.test_counts)
            write_metrics_and_card(context.folder, metrics, distilled.about)
            is_final = (result.subject, result.labels, arch) == ("final", first, first_arch)
            if is_final and metrics["final"]["repeats"] == result.repeats:
                confusion = summed_confusion(context, target, arch, result.repeats)
                write_confusion(context.folder, data.class_names, confusion)
    # The clock has counted the stage only now that it is over.
    write_metrics_and_card(context.folder, metrics | {"stage_seconds": dict(context.clock.seconds)}, distilled.about)
    context.emit(RunFinished(metrics["final"]["accuracy_mean"], metrics["final"]["accuracy_std"]))


def _evaluated_in(context: Context, regimes: tuple[LabelRegime, ...]) -> Context:
    """The context of a run whose settings name these regimes, so that it has a teacher where they need one."""
    evaluation = context.settings.evaluate.model_copy(update={"labels": regimes})
    return replace(context, settings=context.settings.model_copy(update={"evaluate": evaluation}))


def _kept_start(context: Context, final: Synthetic) -> Synthetic | None:
    """The set that the run began with, where it needs no experts: kept by a check, or the final set itself."""
    if not context.settings.traits.distills:
        return final
    try:
        return load_set(context.folder, 0, context.device)
    except RunFailed:
        return None
