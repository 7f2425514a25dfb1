"""What metrics.json tells, as far as it can be relied on: the file may come from elsewhere and hold anything at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.run.errors import Fault
from ltdd_tui.results import Row
from ltdd_tui.sound import are_percents

Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=10**9)]
STRICT = ConfigDict(strict=True)
Found = TypeVar("Found")


class _Figures(BaseModel):
    """One set under the recipe; an accuracy that is not finite was written as null."""

    model_config = STRICT
    accuracy_mean: Percent | None
    accuracy_std: Percent | None
    repeats: Count | None = None
    per_class: list[Percent | None]
    groups: dict[str, Percent | None]
    iteration: Count | None = None


class _Expected(BaseModel):
    """What a publication reports."""

    model_config = STRICT
    accuracy: Percent
    source: str
    note: str | None = None


FIGURES, EXPECTED = TypeAdapter(_Figures), TypeAdapter(_Expected)
COUNT, COUNTS = TypeAdapter(Count, config=STRICT), TypeAdapter(list[Count], config=STRICT)
NAMES, SECONDS = TypeAdapter(list[str], config=STRICT), TypeAdapter(dict[str, Seconds], config=STRICT)


@dataclass(frozen=True)
class Measured:
    """Rows in the order of `result_table`; `faults` say what of the file cannot be shown, and is left out."""

    rows: tuple[Row, ...] = ()
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    estimated_seconds: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def final(self) -> float | None:
        """The final accuracy, in percent."""
        return next((row.accuracy_mean for row in self.rows if row.label == "final"), None)


def measured(metrics: Mapping[str, Any]) -> Measured:
    """All that is sound in a metrics.json; never raises."""
    reader = _Reader()
    repeats = reader.take(COUNT, metrics, "repeats") or 1
    figures = [(label, reader.take(FIGURES, holder, *path)) for label, holder, path in _sets(metrics)]
    expected = reader.take(EXPECTED, metrics, "expected")
    counts = reader.take(COUNTS, metrics, "class_counts") or []
    names = reader.take(NAMES, metrics, "class_names")
    seconds = [reader.take(SECONDS, metrics, *path) for path in (("stage_seconds",), ("estimated", "stage_seconds"))]
    return Measured(
        tuple(_row(label, found, repeats) for label, found in figures if found and _is_known(found)),
        tuple(names or map(str, range(len(counts)))),
        tuple(counts),
        seconds[0] or {},
        seconds[1] or {},
        expected.model_dump() if expected else None,
        tuple(reader.faults),
    )


def _sets(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """The label of each set, and where its figures stand: random, initialization, the experts, final, best, others."""
    yield "random", metrics, ("random",)
    yield "initialization", metrics, ("initialization",)
    for kind in ("representation", "classifier"):
        yield f"{kind} experts", metrics, ("experts", kind)
    yield "final", metrics, ("final",)
    yield "best", metrics, ("best",)
    others = metrics.get("architectures")
    for arch in others if isinstance(others, dict) else ():
        yield f"final on {arch}", metrics, ("architectures", arch)


class _Reader:
    """Takes out of a mapping what is sound, and notes what is not."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def take(self, kind: TypeAdapter[Found], holder: Any, *path: str) -> Found | None:
        """What stands at a path, None where there is nothing, or nothing of that kind."""
        for name in path:
            if holder is None:
                return None
            if not isinstance(holder, dict):
                self._note("this is no mapping", path[: path.index(name)])
                return None
            holder = holder.get(name)
        if holder is None:
            return None
        try:
            return kind.validate_python(holder)
        except ValidationError as error:
            first = error.errors()[0]
            said = first["msg"][0].lower() + first["msg"][1:]
            what = "this is no mapping" if first["type"] == "model_type" else said
            self._note(what, (*path, *map(str, first["loc"])))
            return None

    def _note(self, what: str, path: tuple[str, ...]) -> None:
        fault = Fault(what, f"metrics.json: {'.'.join(path)}")
        if fault not in self.faults:
            self.faults.append(fault)


def _is_known(found: _Figures) -> bool:
    return are_percents(found.accuracy_mean, found.accuracy_std, *found.per_class)


def _row(label: str, found: _Figures, repeats: int) -> Row:
    assert found.accuracy_mean is not None and found.accuracy_std is not None
    return Row(
        label,
        found.accuracy_mean,
        found.accuracy_std,
        found.repeats or repeats,
        [value for value in found.per_class if value is not None],
        found.groups,
        found.iteration,
    )
