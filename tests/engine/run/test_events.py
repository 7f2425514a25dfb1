"""An event that is read back holds what its fields say, or it is no event."""

from __future__ import annotations

import json

import pytest

from engine.run import events as e

STEP = e.MatchingStep(3, 0.5, None, 0.01, 0.2)
CHECK = e.Evaluated("check", 3, "convnet", 1, 50.0, 0.0, [40.0, 60.0], {"many": 60.0, "few": None}, [1.0, 1.0])
DATA = e.DataReady(["cat", "dog"], [9, 1], ["many", "few"], "thirds", 4, 5.0)
START = e.RunStarted("a", "ltdd", "digits", "natural", 2, 0, "convnet", "cpu", ["data"], 5, "abc", 1)
EPOCH = e.ExpertEpoch("classifier", 0, 1, 4, 0.3)


def read(event: e.Event, **changed: object) -> e.Event | None:
    """The event after a way through the file with some of its fields changed; None where it was refused."""
    fields = json.loads(e.encode(event, 0, 1000.0)) | changed
    item = e.decode(json.dumps(fields))
    return item.event if isinstance(item, e.Stamped) else None


@pytest.mark.parametrize("event", [STEP, CHECK, DATA, START, EPOCH], ids=lambda event: e.type_name(type(event)))
def test_an_event_is_read_as_it_was_written(event: e.Event) -> None:
    assert read(event) == event


@pytest.mark.parametrize(
    ("event", "changed"),
    [
        (STEP, {"iteration": "3"}),
        (STEP, {"iteration": 3.5}),
        (STEP, {"iteration": True}),
        (STEP, {"iteration": 10**30}),
        (STEP, {"iteration": None}),
        (STEP, {"loss_rep": "0.5"}),
        (STEP, {"beta": [0.1]}),
        (CHECK, {"per_class": 50.0}),
        (CHECK, {"per_class": ["a", "b"]}),
        (CHECK, {"groups": []}),
        (CHECK, {"groups": {"many": "x"}}),
        (CHECK, {"subject": 7}),
        (DATA, {"class_names": "cat"}),
        (DATA, {"class_counts": [9, None]}),
        (START, {"imbalance_factor": []}),
        (START, {"resumed": 1}),
        (EPOCH, {"kind": []}),
        (STEP, {"t": -1}),
        (STEP, {"t": 1e300}),
    ],
)
def test_an_event_with_a_value_of_a_wrong_type_is_skipped(event: e.Event, changed: dict[str, object]) -> None:
    assert read(event, **changed) is None


def test_fields_of_another_version_are_ignored() -> None:
    assert read(DATA, image_shape=[1, 8, 8]) == DATA
    assert read(e.Initialized(3), repeated_classes=["cat"], new={"a": [1]}) == e.Initialized(3)


def test_a_file_name_that_is_not_utf_8_is_read() -> None:
    assert read(e.Warned("a.png \udc80", "\ud83d")) == e.Warned("a.png \udc80", "\ud83d")


@pytest.mark.parametrize(
    "line", ["", "{", "[" * 100_000, "7", "null", '{"type": []}', '{"type": "warned", "seq": 1e999}']
)
def test_a_line_of_anything_else_is_a_warning(line: str) -> None:
    assert isinstance(e.decode(line), e.Warned)


def test_an_integer_is_read_as_a_float() -> None:
    assert read(STEP, beta=1) == e.MatchingStep(3, 0.5, None, 1, 0.2)
    assert isinstance(read(START, imbalance_factor=100), e.RunStarted)


def test_a_number_that_was_not_finite_is_read_as_none() -> None:
    step = read(STEP, loss_rep=None, beta=None)
    assert isinstance(step, e.MatchingStep) and step.loss_rep is None and step.beta is None


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999"])
def test_an_event_with_nan_or_infinity_is_skipped(literal: str) -> None:
    line = e.encode(STEP, 0, 1000.0).replace("0.01,", f"{literal},")
    assert literal in line and isinstance(e.decode(line), e.Warned)
