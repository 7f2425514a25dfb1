"""What has happened to a run between two looks at it, that a person should be told wherever they are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ltdd_tui.live import View
from ltdd_tui.wording import mean_and_std

MOST_WARNINGS = 3


@dataclass(frozen=True)
class Tiding:
    """A message; `rings` where the run has come to an end of some kind."""

    message: str
    severity: Literal["information", "warning", "error"] = "information"
    title: str = ""
    rings: bool = False


def tidings(before: View, after: View) -> list[Tiding]:
    """New warnings with their hints, and how the run ended."""
    found = _warnings(before, after)
    if after.gone and not before.gone:
        found.append(Tiding(f"{after.folder.root} is gone", "error", after.folder.name, rings=True))
    if before.state.status == after.state.status:
        return found
    ending = _ending(after)
    return [*found, ending] if ending else found


def _warnings(before: View, after: View) -> list[Tiding]:
    new = list(after.state.warnings[len(before.state.warnings) :])
    found = [
        Tiding(warning.message + (f"\nhint: {warning.hint}" if warning.hint else ""), "warning", after.folder.name)
        for warning in new[:MOST_WARNINGS]
    ]
    if len(new) > MOST_WARNINGS:
        more = f"and {len(new) - MOST_WARNINGS} more warnings, which the log shows"
        found.append(Tiding(more, "warning", after.folder.name))
    return found


def _ending(after: View) -> Tiding | None:
    name, state = after.folder.name, after.state
    match state.status:
        case "done":
            final = next((e for e in state.evaluations.values() if e.subject == "final"), None)
            figure = f": {mean_and_std(final.accuracy_mean, final.accuracy_std, final.repeats)} %" if final else ""
            return Tiding(f"the run is done{figure}", title=name, rings=True)
        case "failed":
            what = state.failures[-1].what if state.failures else "it said no more"
            return Tiding(f"the run failed: {what}", "error", name, rings=True)
        case "crashed":
            return Tiding("the worker is gone without a last word", "error", name, rings=True)
        case "stopped":
            return Tiding("the run has stopped", title=name, rings=True)
        case _:
            return None


def terminal_title(view: View) -> str:
    """The run in a few words, for the title of the terminal's window."""
    state = view.state
    stage = state.stages.current
    if state.status == "running" and stage and stage.total:
        return f"{100 * stage.done / stage.total:.0f}% {stage.name} · {view.folder.name}"
    return f"{state.status} · {view.folder.name}"
