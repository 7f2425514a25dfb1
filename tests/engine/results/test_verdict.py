"""The verdict, as a table of cases: what was measured, and what a person is told to use."""

from __future__ import annotations

from typing import Any

import pytest

from engine.results.verdict import comparison_rows, verdict

Figure = tuple[float, float]


def measured(**given: Any) -> dict[str, Any]:
    """metrics.json of three networks a figure, (mean, std); a bound of 51 in 20 s, and 4.2 MB of images."""

    def of(figure: Figure) -> dict[str, Any]:
        return {"accuracy_mean": figure[0], "accuracy_std": figure[1], "repeats": 3}

    sets = {"random": (46.8, 1.0), "initialization": (51.0, 0.6), "final": (55.2, 0.9)}
    metrics: dict[str, Any] = {name: of(given.pop(name, figure)) for name, figure in sets.items()}
    metrics["final"]["per_class"] = [80.0, 70.0, 40.0, 30.0]
    metrics["selections"] = {"herding": of(given.pop("herding", (46.5, 1.0)))}
    bound = given.pop("bound", ((51.0, 0.5), 20.0))
    metrics["bounds"] = {"balanced_softmax": of(bound[0])} if bound else {}
    metrics["training_seconds"] = dict.fromkeys(("random", "initialization", "final", "selection herding"), 9.0)
    metrics["training_seconds"]["bound balanced_softmax"] = bound[1] if bound else None
    return {
        "method": "ltdd-plus",
        "ipc": 10,
        "class_counts": [2378, 1295, 5, 4],
        "test_counts": [200] * 4,
        "stored_bytes": {"set_file": 300_000, "all_images": 4_200_000},
        **metrics,
        **given,
    }


@pytest.mark.parametrize(
    ("case", "use", "said"),
    [
        ({}, "distilled", ["use the distilled set (55.2 ± 0.9 %)", "4.2 points above your start", "20 s from 4.2 MB"]),
        ({"final": (51.3, 0.6)}, "start", ["your start is as good: matching gained nothing"]),
        (
            {"final": (51.0, 0.6), "validation": {"chosen": 0}},
            "start",
            ["matching gained nothing, so the set is the start"],
        ),
        ({"herding": (54.9, 1.0)}, "selection", ["10 herded images a class with soft labels are as good: 54.9"]),
        ({"random": (54.9, 1.0)}, "random", ["10 random images a class are as good"]),
        (
            {"bound": ((59.2, 0.5), 20.0)},
            "everything",
            ["train on everything: it costs 20 s and has 4.0 points more than the distilled set"],
        ),
        (
            {"bound": ((98.8, 0.1), 21.0), "class_counts": [30, 20, 5, 4]},
            "everything",
            ["your data is small (59 images in all)"],
        ),
        ({"bound": ((59.2, 0.5), 7200.0)}, "distilled", ["59.2 ± 0.5 % in 120 min"]),
        ({"bound": None}, "distilled", ["training on everything was not measured"]),
        # A class with two test images says little: 4.2 points are within what they may be off by.
        (
            {"test_counts": [200, 200, 2, 1]},
            "undecided",
            [
                "nothing can be concluded, as 2 classes have 1 to 2 test images, so a mean may be off by 30 points",
                "(the distilled set 55.2 ± 0.9 %, 10 random images a class 46.8 ± 1.0 %, ",
                "; more test images would tell",
            ],
        ),
        (
            {
                "test_counts": [200, 200, 2, 1],
                "random": (5.0, 1.0),
                "herding": (5.0, 1.0),
                "initialization": (5.0, 1.0),
            },
            "distilled",
            ["use the distilled set", "2 classes have 1 to 2 test images"],
        ),
    ],
)
def test_the_simplest_that_is_as_good_is_advised_and_compared_with_everything(
    case: dict[str, Any], use: str, said: list[str]
) -> None:
    found = verdict(measured(**case))
    assert found is not None and found.use == use, found
    for words in said:
        assert words in found.sentence


def with_diverged(*names: str) -> dict[str, Any]:
    """metrics.json in which two of three networks of these sets diverged, with a start and a bound above the set."""
    metrics = measured(initialization=(57.0, 0.6), bound=((60.0, 0.5), 20.0))
    for name in names:
        (metrics["bounds"]["balanced_softmax"] if name == "bound" else metrics[name])["diverged"] = 2
    return metrics


def test_accuracies_of_networks_that_diverged_are_not_compared() -> None:
    both = with_diverged()
    only_start = verdict(with_diverged("bound"))
    neither = verdict(with_diverged("bound", "initialization"))
    assert (found := verdict(both)) and found.use == "everything"
    assert only_start and only_start.use == "start" and "was not measured" not in only_start.sentence
    assert neither and neither.use == "distilled" and neither.points.keys().isdisjoint({"your start"})
    told = "left out, as networks diverged: your start (2 of 3), all 3,682 images with balanced_softmax loss (2 of 3)"
    assert neither.sentence.endswith(told) and "start" not in neither.sentence.partition("; ")[0]
    assert "57.0 ± 0.6 (2 of 3 networks diverged)" in [
        row[1] for row in comparison_rows(with_diverged("initialization"))
    ]


@pytest.mark.parametrize(
    ("labels", "setting"), [("stored", "evaluate.learning_rate"), ("online", "online.learning_rate")]
)
def test_a_set_whose_networks_diverged_has_no_advice_but_which_rate_to_lower(labels: str, setting: str) -> None:
    found = verdict({**with_diverged("final"), "labels": labels})
    what = "2 of 3 networks that were trained on the distilled set diverged"
    assert found and (found.use, found.sentence) == (
        "diverged",
        f"nothing can be concluded, as {what}: set a lower {setting}",
    )
    assert "the distilled set" not in found.points


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        (
            {"accuracy_mean": 61.0},
            "with hard labels the distilled set has 61.0 ± 0.9 % (with stored labels 55.2 ± 0.9 %)",
        ),
        ({"accuracy_mean": 56.0}, ""),
        ({"accuracy_mean": 61.0, "diverged": 1}, ""),
        (None, ""),
    ],
)
def test_a_label_regime_in_which_the_same_set_is_better_is_told(hard: dict[str, Any] | None, said: str) -> None:
    metrics = measured()
    regime = {"final": hard and {**metrics["final"], **hard}}
    found = verdict({**metrics, "labels": "stored", "regimes": {"stored": {"final": metrics["final"]}, "hard": regime}})
    assert found and found.use == "distilled" and ("with hard labels" in found.sentence) == bool(said)
    assert said in found.sentence.split("; ") or not said


def test_the_table_beside_the_verdict_has_points_seconds_and_bytes() -> None:
    rows = comparison_rows(measured())
    assert rows[-2:] == [
        ["the distilled set", "55.2 ± 0.9 (n = 3)", "9", "300,000"],
        ["all 3,682 images", "51.0 ± 0.5 (n = 3)", "20", "4,200,000"],
    ]
    assert [row[0] for row in rows[1:4]] == ["10 random images a class", "10 herded images a class", "your start"]


def test_all_images_are_those_that_networks_saw() -> None:
    found = verdict(measured(validation={"chosen": 40}))
    assert found is not None and "all 3,682 images not kept for validation: 51.0" in found.sentence


def test_metrics_without_a_final_figure_have_no_verdict() -> None:
    assert verdict({}) is None and verdict({"final": {"accuracy_mean": None}}) is None
