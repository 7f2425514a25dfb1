"""What one must know of a run first: that it failed, crashed, stopped or waits, or that its folder is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ltdd_tui.console_marks import since_start
from ltdd_tui.live import View
from ltdd_tui.wording import stage_name

CONSOLE_LINES = 4
LOADING = "it loads its libraries, which takes some seconds"


@dataclass(frozen=True)
class Notice:
    """A box above the panels: what is the matter, the lines that say more, and what to do."""

    severity: Literal["error", "warning", "information"]
    title: str
    lines: tuple[str, ...] = ()
    hint: str = ""


def notice(view: View, starting: bool, exit_code: int | None = None) -> Notice | None:
    """The notice of a view, None where all is well.

    `starting` is whether a worker is on its way, `exit_code` how it ended before it took hold of the run.
    """
    state = view.state
    if view.gone:
        return Notice("error", "the run's folder is gone", (str(view.folder.root),), "what was read of it still shows")
    if view.at is not None:
        return None
    if starting:
        return Notice("information", "the worker is starting", since_start(view.console)[-1:] or (LOADING,))
    if exit_code is not None and state.status != "failed":
        title = f"the worker ended at once (exit code {exit_code})"
        return Notice("error", title, since_start(view.console)[-CONSOLE_LINES:], "`r` tries again")
    if state.status == "failed":
        faults = [f"{fault.where}: {fault.what}" if fault.where else fault.what for fault in state.failures]
        hints = [fault.hint for fault in state.failures if fault.hint]
        return Notice("error", "the run failed", tuple(faults), "; ".join([*hints, f"`r` goes on {_where(view)}"]))
    if state.status == "crashed":
        lines = since_start(view.console)[-CONSOLE_LINES:] or ("it printed nothing",)
        return Notice("error", "the worker is gone without a last word", lines, f"`r` goes on {_where(view)}")
    if state.status == "stopped":
        stage = next((s.name for s in state.stages.by_name.values() if s.status == "interrupted"), "")
        during = f" during {stage_name(stage)}" if stage else ""
        return Notice("warning", f"stopped{during}", hint=f"`r` goes on {_where(view)}")
    if state.status == "waiting" and not view.alive:
        return Notice(
            "warning", "no worker is at work on this run", since_start(view.console)[-CONSOLE_LINES:], "`r` starts one"
        )
    if view.settings is None:
        return Notice("warning", "config.yaml cannot be read; what depends on the settings is left out")
    return None


def _where(view: View) -> str:
    at = view.state.checkpoint
    return f"from iteration {at}, the last checkpoint" if at else "from what is finished"


def can_resume(view: View) -> bool:
    """Whether there is something that a new worker would go on with."""
    return not view.alive and not view.gone and view.state.status in {"waiting", "stopped", "crashed", "failed"}


def can_stop(view: View) -> bool:
    """Whether a worker could be asked to stop."""
    return view.alive and not view.gone
