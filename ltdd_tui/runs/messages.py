"""What a person is told of a run: notifications of what is new, a notice of what is wrong, and lines of the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.run import events as e
from engine.run.errors import Fault, escaped
from engine.run.metrics import diverged_text
from ltdd_tui.formatting import duration, first_few, mean_and_std, percent, percent_done, stage_name
from ltdd_tui.runs.figures import KINDS
from ltdd_tui.runs.overall_progress import overall_progress
from ltdd_tui.runs.rows import BY_TEACHER, Row, by_label, has_regimes, rows_from_state
from ltdd_tui.runs.state import RunState, RunView, recovered_warning
from ltdd_tui.runs.verdict import verdict_lines

# ---------------------------------------------------------------------------------------------------------------------
# Notifications: what has happened between two looks, which is told whatever screen is shown

MOST_WARNINGS = 3


@dataclass(frozen=True)
class Notification:
    """A message; `rings` where the run has come to an end of some kind."""

    message: str
    severity: Literal["information", "warning", "error"] = "information"
    title: str = ""
    rings: bool = False


def worker_died(exit_code: int | None = None) -> str:
    """`the worker process died (signal 9)`; `exit_code` as `subprocess` gives it, None where it is not known."""
    return f"the worker process died{'' if exit_code is None else f' ({ended_with(exit_code)})'}"


def ended_with(exit_code: int) -> str:
    """`signal 9` for -9, `exit code 3` for 3."""
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def resumes_from(state: RunState) -> str:
    """What `r` does with a run that has not finished."""
    at = state.checkpoint
    return f"`r` resumes from iteration {at}, the last checkpoint" if at else "`r` resumes from what is finished"


def new_notifications(before: RunView, after: RunView, exit_code: int | None = None) -> list[Notification]:
    """New warnings with their hints, and how the run ended; `exit_code` is the worker's, where it is known."""
    name = after.folder.name
    new = after.state.warnings[len(before.state.warnings) :]
    told = [warning.message + (f"\nhint: {warning.hint}" if warning.hint else "") for warning in new]
    told = first_few(told, MOST_WARNINGS, " warnings, which the log shows")
    notifications = [Notification(text, "warning", name) for text in told]
    if after.gone and not before.gone:
        notifications.append(Notification(f"{after.folder.root} is gone", "error", name, rings=True))
    if before.state.status != after.state.status and (ending := _ending(after, exit_code)):
        notifications.append(ending)
    if (left_off := _left_off(after.state)) and not _left_off(before.state):
        notifications.append(Notification(f"{left_off}; {EVALUATES_ON}", "warning", name, rings=True))
    return notifications


def _ending(after: RunView, exit_code: int | None) -> Notification | None:
    name, state = after.folder.name, after.state
    match state.status:
        case "done":
            reached = closing_line_of(state)
            return Notification(f"the run is done{reached and f': {reached}'}", title=name, rings=True)
        case "failed":
            return Notification(f"the run failed: {state.failures[-1].what}", "error", name, rings=True)
        case "crashed":
            return Notification(f"{worker_died(exit_code)}; {resumes_from(state)}", "error", name, rings=True)
        case "stopped":
            return Notification(f"the run has stopped; {resumes_from(state)}", title=name, rings=True)
        case _:
            return None


def terminal_title(view: RunView, now: float) -> str:
    """The run in a few words, for the title of the terminal's window; `now` in seconds since 1970."""
    if overall := overall_progress(view.state, now):
        return f"{percent_done(overall.share)} {stage_name(overall.stage.name)} · {view.folder.name}"
    return f"{view.state.status} · {view.folder.name}"


# ---------------------------------------------------------------------------------------------------------------------
# The progress of a run at work, and what a finished one has reached


def progress_text(state: RunState, now: float) -> str:
    """`43 %, about 5 min left` of the whole run, as far as it is known; empty while no stage is under way."""
    overall = overall_progress(state, now)
    if overall is None:
        return ""
    left = overall.seconds_left
    return percent_done(overall.share) + (f", about {duration(left, 'estimate')} left" if left else "")


def closing_line(rows: Sequence[Row], class_counts: Sequence[int], ipc: int | None) -> str:
    """`20 images reach 90.1 ± 0.9 %; random 84.4, start 88.3, all 371 images 92.2`; empty without a final figure.

    Where a run has other label regimes than `stored`: `20 images reach 90.1 ± 0.9 % with stored labels; ...`.
    """
    own = by_label(rows)
    final = own.get("final")
    if final is None or not class_counts or not ipc:
        return ""
    # Bounds were measured for this very comparison. Of experts, those of the classifier decouple head from tail, and so
    # reach more than the others.
    bounds = [row for label, row in own.items() if label.startswith(e.BOUND)]
    experts = [own[f"{kind} experts"] for kind in KINDS if f"{kind} experts" in own]
    everything = max(bounds, key=lambda row: row.accuracy_mean, default=experts[-1] if experts else own.get("teacher"))
    random, start = own.get("random"), own.get("initialization")
    compared = [(random.title if random else "", random), ("start", start)]
    compared.append((f"all {sum(class_counts):,} images", everything))
    others = ", ".join(f"{name} {percent(row.accuracy_mean)}" for name, row in compared if row)
    reached = mean_and_std(final.accuracy_mean, final.accuracy_std, final.repeats)
    regime = (f" with {final.labels} labels" if has_regimes(rows) else "") + final.diverged
    return f"{ipc * len(class_counts):,} images reach {reached} %{regime}" + (f"; {others}" if others else "")


def closing_line_of(state: RunState) -> str:
    """The closing line of a finished run by its events."""
    counts = state.data.class_counts if state.data else []
    return closing_line(rows_from_state(state), counts, state.started.ipc if state.started else None)


# ---------------------------------------------------------------------------------------------------------------------
# The notice above the panels: that a run failed, crashed, stopped or waits, or that its folder is gone

CONSOLE_LINES = 4
LOADING = "it loads its libraries, which takes some seconds"


@dataclass(frozen=True)
class Notice:
    """A box above the panels: what is the matter, the lines that say more, and what to do."""

    severity: Literal["error", "warning", "information"]
    title: str
    lines: tuple[str, ...] = ()
    hint: str = ""


def notice(
    view: RunView,
    starting: bool,
    exit_code: int | None = None,
    died_with: int | None = None,
    stopping_seconds: float | None = None,
) -> Notice | None:
    """The notice of a view, None where all is well.

    `starting` is whether a worker is on its way, `exit_code` how it ended before it took hold of the run, `died_with`
    how it ended after that, where it is known, and `stopping_seconds` how long ago it was asked to stop.
    """
    state, last_lines = view.state, view.console[-CONSOLE_LINES:]
    goes_on = resumes_from(state)
    if view.gone:
        return Notice("error", "the run's folder is gone", (str(view.folder.root),), "what was read of it still shows")
    if view.at is not None:
        return None
    if starting:
        return Notice("information", "the worker is starting", view.console[-1:] or (LOADING,))
    if exit_code is not None and state.status != "failed":
        title = f"the worker ended at once ({ended_with(exit_code)})"
        return Notice("error", title, last_lines, "`r` tries again")
    if stopping_seconds is not None:
        return _stopping(state, stopping_seconds)
    if state.status == "failed":
        faults = [f"{fault.where}: {fault.what}" if fault.where else fault.what for fault in state.failures]
        hints = [fault.hint for fault in state.failures if fault.hint]
        return Notice("error", "the run failed", tuple(faults), "; ".join([*hints, goes_on]))
    if state.status == "queued":
        waits = f"it begins once no worker is at work on {', '.join(state.queued_behind)}"
        return Notice("information", "queued", (waits,), "`s` takes it out of the queue")
    if state.status == "crashed":
        return Notice("error", worker_died(died_with), last_lines or ("it printed nothing",), goes_on)
    if view.damage:
        damage = (f"{view.damage.where}: {view.damage.what}",)
        what = "result" if view.damage.where != str(view.folder.events) else "file of events"
        return Notice("error", f"the {what} is damaged", damage, "`r` writes it anew, from what else the run has kept")
    if state.status == "stopped":
        stage = next((s.name for s in state.stages.by_name.values() if s.status == "interrupted"), "")
        during = f" during {stage_name(stage)}" if stage else ""
        return Notice("warning", f"stopped{during}", hint=goes_on)
    if state.status == "waiting" and not view.alive:
        return Notice("warning", "no worker is at work on this run", last_lines, "`r` starts one")
    if left_off := _left_off(state):
        faults = [failure.what for failure in state.failures[-1:]] if state.left_off == "failed" else []
        return Notice("warning", left_off, tuple(faults), EVALUATES_ON)
    if view.settings is None:
        return Notice("warning", "config.yaml cannot be read, or was changed; what depends on it is left out")
    if told := verdict_lines(state):
        advice, lines = told
        return Notice("information", f"verdict: {advice}" if advice else "verdict", tuple(lines))
    return None


# What a worker that is asked to stop finishes first, by the stage that it is in.
STOPS_AFTER = {
    "experts": "the present epoch; experts that are not finished begin anew",
    "classifier_experts": "the present epoch; an expert that is not finished begins anew",
    "teacher": "the present epoch, which is kept",
    "validation": "the networks that are being trained, which are kept",
    "baselines": "the networks that are being trained, which are kept",
    "distill": "the present iteration, which is kept, or the networks of the present check",
    "evaluate": "the networks that are being trained, which are kept",
    "bounds": "the present epoch, which is kept",
    "scores": "the networks that are being trained, which are kept",
}
EVALUATES_ON = "`v` evaluates again; finished networks are kept"


def _stopping(state: RunState, seconds: float) -> Notice:
    """What the worker still finishes before it stops, and what it costs not to wait for that."""
    stage = state.stages.current
    after = STOPS_AFTER.get(stage.name, f"the stage {stage_name(stage.name)}") if stage else "the present step"
    lost = state.iteration - state.checkpoint
    costs = f"{lost} iterations since the last checkpoint" if lost > 0 else "what the present step has done"
    return Notice(
        "information",
        f"stopping, asked {duration(seconds, 'age')} ago" if seconds >= 2 else "stopping",
        (f"the worker stops after {after}",),
        f"`s` again stops it now, which loses {costs}",
    )


def _left_off(state: RunState) -> str:
    """How a further evaluation of a finished run ended that is not finished; empty where there is none."""
    stage = next((stage.name for stage in state.stages.by_name.values() if stage.status == "interrupted"), None)
    if state.status != "done" or stage is None or state.left_off is None:
        return ""
    how = {"crashed": worker_died(), "failed": "it failed"}.get(state.left_off, "it was stopped")
    return f"{stage_name(stage)} is not finished: {how}"


def can_resume(view: RunView) -> bool:
    """Whether there is something that a new worker would go on with."""
    at_rest = view.state.status in {"waiting", "stopped", "crashed", "failed"} or view.damage is not None
    return at_rest and not view.alive and not view.gone


def can_stop(view: RunView) -> bool:
    """Whether a worker could be asked to stop."""
    return view.alive and not view.gone


# ---------------------------------------------------------------------------------------------------------------------
# Lines of the log


CHOSEN = {
    "start": "chosen start",
    "rates": "matching steps down",
    "stop": "matching stops early",
    "set": "chosen set",
}


def log_message(item: e.Stamped | e.Warned, state: RunState | None = None) -> str | None:
    """The log's text for an event, or None where it says nothing that its stage's progress does not.

    `state`: that of the run, by which an accuracy is told with its label regime where there is another than `stored`.
    """
    event = item if isinstance(item, e.Warned) else item.event
    match event:
        case e.RunStarted():
            again = "goes on" if event.resumed else "starts"
            return f"{event.name} {again}: {event.method} on {event.dataset}, IPC {event.ipc}, on {event.device}"
        case e.Queued():
            return f"queued: it begins once no worker is at work on {', '.join(event.behind)}"
        case e.DataReady(class_counts=counts):
            most, least = max(counts, default=0), min(counts, default=0)
            classes = f"{len(counts)} classes ({most} to {least} a class)"
            return f"data: {sum(counts)} images in {classes}, {event.test_images} test images"
        case e.StageDone():
            return f"{stage_name(event.stage)}: done in {duration(event.seconds)}"
        case e.TeacherReady():
            networks = "1 network" if event.networks == 1 else f"the mean of {event.networks} networks"
            return (
                f"teacher: {networks} ({event.kind.replace('_', ' ')}), {percent(event.accuracy)} % of the test images"
            )
        case e.LabelsAdjusted() if event.tau is not None:
            spread = f"{percent(event.spread)} % instead of {percent(event.spread_before)} %"
            what = f"labels: less {event.tau:.3f} * log(class share); a class's probability on its own images"
            return f"{what} varies by {spread}; the teacher has {percent(event.accuracy)} %"
        case e.Initialized(unrecognized_images=count) if count:
            return f"initialize: {count} images that no expert recognizes start with their class as label"
        case e.Evaluated(iteration=iteration, repeats=repeats):
            at = "" if iteration is None else f" at {iteration}"
            accuracy = mean_and_std(event.accuracy_mean, event.accuracy_std, repeats)
            groups = ", ".join(f"{name} {percent(value)}" for name, value in event.groups.items() if value is not None)
            told = event.labels and state is not None and state.first_regime_told
            how = f", {event.labels} labels" if told else ""
            subject = event.subject.replace("_", " ") + BY_TEACHER * event.teacher_labels
            how += ", validation images" if event.tested_on == "validation" else ""
            how += diverged_text(event)
            return f"evaluated {subject}{at} on {event.arch}{how}: {accuracy} % (n={repeats}; {groups})"
        case e.Recovered():
            return log_message(recovered_warning(event))
        case e.Chosen():
            return f"{CHOSEN.get(event.of, event.of)}: {event.chosen} ({event.why})"
        case e.Verdict():
            return f"verdict: {event.sentence}"
        case e.Warned():
            return f"warning: {escaped(event.message)}" + (f"\nhint: {escaped(event.hint)}" if event.hint else "")
        case e.RunBroke():
            return str(Fault(event.what, event.where, event.hint))
        case _:
            return None


def losses(point: e.MatchingStep) -> str:
    """The matching losses that the method has, as text."""
    both = (("rep", point.loss_rep), ("cls", point.loss_cls))
    return ", ".join(f"{name} {value:.3f}" for name, value in both if value is not None)
