"""Events of a foreign or damaged file: whatever a reader is given has the types that the event's class promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.run.events import Evaluated, MatchingStep, RunStarted, Stamped, Warned, decode, encode

STEP = MatchingStep(7, 0.9, None, 0.01, 0.04)
CHECK = Evaluated("check", 7, "convnet", 1, 50.0, 0.0, [50.0, 49.0], {"many": 50.0, "few": None}, [1.0, 1.1])


def line_of(event: Any, **changes: Any) -> str:
    return json.dumps(json.loads(encode(event, 3, 1.8e9)) | changes)


def test_what_the_worker_writes_is_read() -> None:
    odd = Evaluated("check", 7, "convnet", 1, float("nan"), 0.0, [float("inf"), 49.0], {"many": float("nan")}, [1, 2])
    for event in (STEP, CHECK, odd):
        found = decode(encode(event, 3, 1.8e9))
        assert isinstance(found, Stamped)
    assert isinstance(found.event, Evaluated) and found.event.per_class == [None, 49.0]


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (STEP, {"iteration": "7"}),
        (STEP, {"iteration": None}),
        (STEP, {"iteration": 7.5}),
        (STEP, {"loss_rep": [0.9]}),
        (STEP, {"beta": float("nan")}),
        (STEP, {"seconds": float("inf")}),
        (STEP, {"t": 1e300}),
        (STEP, {"t": -1}),
        (CHECK, {"per_class": {"0": 50.0}}),
        (CHECK, {"per_class": [50.0, "49"]}),
        (CHECK, {"per_class": [50.0, float("nan")]}),
        (CHECK, {"groups": None}),
        (CHECK, {"groups": {"many": "high"}}),
        (RunStarted("a", "ltdd", "digits", 1.0, 1, 0, "convnet", "cpu", ["data"], 1, "0", 1), {"stages": [1]}),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_number_of_its_line(event: Any, changes: dict[str, Any]) -> None:
    found = decode(line_of(event, **changes))
    assert found == Warned("event 3 holds values of the wrong kind and was skipped", "another program wrote it")


def test_a_field_of_a_newer_version_is_left_out() -> None:
    found = decode(line_of(STEP, gradient_norm=1.0))
    assert isinstance(found, Stamped) and found.event == STEP
