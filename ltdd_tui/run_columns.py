"""The columns of the list of runs: what each one says of a run, how they sort, and which fit into a width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from ltdd_tui.scanning import Listed
from ltdd_tui.wording import age, factor_name, mean_and_std, percent

# Signs that every terminal font has; the words beside them say the same.
MARKS = {
    "running": "\u25ba",
    "done": "\u25cf",
    "stopped": "\u25a0",
    "failed": "\u00d7",
    "crashed": "\u00d7",
    "damaged": "?",
    "waiting": "\u25cb",
    "starting": "\u25cb",
}
RISES, FALLS = "\u25b2", "\u25bc"
SHORTEST_NAME, WIDEST_DATASET = 20, 16
Sortable = float | str | None


@dataclass(frozen=True)
class Column:
    """One column: `text` of a run at a time (seconds since 1970), `order` to sort by, None where it has nothing.

    `falling` columns start with their largest. Of those that do not fit, the ones of the least `worth` go first.
    """

    key: str
    title: str
    worth: int
    text: Callable[[Listed, float], str]
    order: Callable[[Listed], Sortable]
    right: bool = False
    falling: bool = False


def state_text(listed: Listed) -> str:
    """The state with its mark, and how far the present stage is."""
    run = listed.run
    far = "" if run.progress is None else f" {100 * run.progress:.0f} %"
    return f"{MARKS.get(run.state, ' ')} {run.state}{far}"


def _factor(factor: float | str | None) -> str:
    return "" if factor is None else factor_name(factor)


def accuracy_text(listed: Listed) -> str:
    """The result, or what the latest check says, marked as no more than that."""
    run = listed.run
    if run.accuracy_mean is not None:
        # A final figure is always one of several networks, unless its spread is none.
        return mean_and_std(run.accuracy_mean, run.accuracy_std, 2 if run.accuracy_std else 1)
    return f"{percent(run.check_mean)} so far" if run.check_mean is not None else ""


def changed_order(listed: Listed) -> float:
    """Runs at work are the newest, and stand still among themselves though each of them changes all the time."""
    return 1e12 + listed.created if listed.run.state == "running" else listed.run.changed


COLUMNS = (
    Column("state", "state", 9, lambda listed, now: state_text(listed), lambda listed: listed.run.state),
    Column("name", "name", 10, lambda listed, now: listed.run.name, lambda listed: listed.run.name.casefold()),
    Column("dataset", "data set", 3, lambda listed, now: listed.run.dataset or "", lambda listed: listed.run.dataset),
    Column(
        "if",
        "IF",
        6,
        lambda listed, now: _factor(listed.run.imbalance_factor),
        lambda listed: factor if isinstance(factor := listed.run.imbalance_factor, float | int) else None,
        right=True,
    ),
    Column("ipc", "IPC", 6, lambda listed, now: str(listed.run.ipc or ""), lambda listed: listed.run.ipc, right=True),
    Column("method", "method", 7, lambda listed, now: listed.run.method or "", lambda listed: listed.run.method),
    Column(
        "seed",
        "seed",
        1,
        lambda listed, now: "" if listed.run.seed is None else str(listed.run.seed),
        lambda listed: listed.run.seed,
        right=True,
    ),
    Column(
        "accuracy",
        "accuracy %",
        8,
        lambda listed, now: accuracy_text(listed),
        lambda listed: listed.run.accuracy_mean,
        right=True,
        falling=True,
    ),
    Column(
        "changed",
        "changed",
        4,
        lambda listed, now: age(now - listed.run.changed),
        changed_order,
        right=True,
        falling=True,
    ),
)
BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Order:
    """By which column a list is sorted, and whether the other way round than that column starts."""

    key: str = "changed"
    reversed: bool = False

    @property
    def falls(self) -> bool:
        """Whether the largest stands first."""
        return BY_KEY[self.key].falling != self.reversed

    def asked(self, key: str) -> Order:
        """The order after a column is asked for: once more for the same one turns it round."""
        return Order(key, not self.reversed) if key == self.key else Order(key)


def in_order(found: Sequence[Listed], order: Order) -> list[Listed]:
    """The runs sorted; those that have nothing to sort by stand last, whichever way; ties go by name."""
    key = BY_KEY[order.key].order
    named = sorted(found, key=lambda listed: listed.run.name)
    told: list[tuple[Any, Listed]] = [(value, listed) for listed in named if (value := key(listed)) is not None]
    told.sort(key=lambda pair: pair[0], reverse=order.falls)
    return [listed for _, listed in told] + [listed for listed in named if key(listed) is None]


def standing(found: Sequence[Listed], marked: int = 0) -> str:
    """How many runs there are, and how many of them a person should know of: `7 runs, 2 running, 1 failed`."""
    states = Counter(listed.run.state for listed in found)
    told = [
        f"{states[state]} {state}" for state in ("starting", "running", "failed", "crashed", "damaged") if states[state]
    ]
    told += [f"{marked} marked"] if marked else []
    return ", ".join([f"{len(found)} run" if len(found) == 1 else f"{len(found)} runs", *told])


def title(column: Column, order: Order) -> str:
    """The title of a column, with the direction where the list is sorted by it."""
    if column.key != order.key:
        return column.title
    arrow = FALLS if order.falls else RISES
    return f"{arrow} {column.title}" if column.right else f"{column.title} {arrow}"


def fitted(found: Sequence[Listed], order: Order, now: float, width: int, gap: int) -> list[tuple[Column, int]]:
    """The columns that fit side by side into `width` cells, each with its own width; the name takes what is left."""
    wide = {
        column.key: max([len(title(column, order)), *(cell_len(column.text(listed, now)) for listed in found)])
        for column in COLUMNS
    }
    wide["dataset"] = min(WIDEST_DATASET, wide["dataset"])
    shown = list(COLUMNS)
    while True:
        left = width - sum(wide[column.key] + gap for column in shown if column.key != "name")
        if left >= min(wide["name"], SHORTEST_NAME) or len(shown) <= 2:
            return [
                (column, max(1, min(left, wide["name"])) if column.key == "name" else wide[column.key])
                for column in shown
            ]
        shown.remove(min(shown, key=lambda column: column.worth))
