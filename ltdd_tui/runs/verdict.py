"""The verdict on a finished run, what it chose by validation images, and the table behind both, in words."""

from __future__ import annotations

from dataclasses import dataclass

from engine.run.events import BOUND, SELECTION, Evaluated
from engine.run.metrics import diverged_text
from ltdd_tui.formatting import duration, mean_and_std
from ltdd_tui.runs.state import VALIDATION, RunState, recovered_warning

SHORT = {
    "distilled": "use the set",
    "start": "start as good",
    "selection": "selection as good",
    "random": "random as good",
    "everything": "train on all",
}
NAMES = {"final": "the final set", "initialization": "its start", "random": "random images"}


def short_verdict(use: str | None) -> str:
    """`use the set`, `train on all`: for a list; empty where a run has no verdict, or one of another program."""
    return SHORT.get(use or "", "")


def verdict_lines(state: RunState) -> tuple[str, list[str]] | None:
    """The advice of a finished run in a few words; then in a sentence, with its numbers, and what was kept and why."""
    if state.status != "done" or state.verdict is None or not state.verdict.sentence:
        return None
    advice, *numbers = state.verdict.sentence.split("; ")
    tests = state.data.test_images if state.data else 0
    measured = [f"measured on {tests:,} test images" + ", which no choice has seen" * state.validates] * (tests > 0)
    spoilt = [event for event in state.evaluations.values() if event.subject in NAMES and event.diverged]
    diverged = [f"{NAMES[event.subject]}{diverged_text(event)}: no accuracy of the images" for event in spoilt]
    return short_verdict(state.verdict.use), [advice, *numbers, *diverged, *kept_lines(state), *measured]


def kept_lines(state: RunState) -> list[str]:
    """Which start and which set the run took by validation images, and why; and where its rates were halved."""
    last = {choice.of: choice for choice in state.choices}
    told = {"start": "started from", "stop": "matching stopped early", "set": "kept"}
    chosen = [f"{words} {last[of].chosen}: {last[of].why}" for of, words in told.items() if of in last]
    return [*chosen, *(recovered_warning(event).message for event in state.recoveries)]


@dataclass(frozen=True)
class Compared:
    """One set that networks were trained on: `figures` as `55.2 ± 1.9`, over `networks`, each taking `seconds`."""

    name: str
    figures: str
    networks: int
    seconds: str


def comparison(state: RunState) -> list[Compared]:
    """What a person could train on, in order: the final set, its start, selections, random images, everything."""
    own = [event for event in state.evaluations.values() if event.tested_on != VALIDATION]
    order = ("final", "initialization", SELECTION, "random", BOUND)
    rows = []
    for subject in order:
        for event in own:
            named = event.subject == subject or (subject.endswith(" ") and event.subject.startswith(subject))
            in_regime = not event.labels or event.labels == state.regimes[0] or subject in (SELECTION, BOUND)
            if named and in_regime:
                rows.append(_compared(event))
    return list({row.name: row for row in rows}.values())


def _compared(event: Evaluated) -> Compared:
    name = NAMES.get(event.subject, event.subject)
    if event.subject.startswith(SELECTION):
        name = f"images by {event.subject.removeprefix(SELECTION)}"
    if event.subject.startswith(BOUND):
        name = f"everything ({event.subject.removeprefix(BOUND).replace('_', ' ')})"
    seconds = "" if event.seconds is None else duration(event.seconds)
    return Compared(name, mean_and_std(event.accuracy_mean, event.accuracy_std, event.repeats), event.repeats, seconds)
