"""LRS and ARS against numbers worked out by hand, and what becomes of a damaged scores.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.folder import RunFolder, write_json
from engine.run.scores import PARTS, Part, augmentation_robust_score, label_robust_score, read_scores, scores_of

# By DD-Ranking's definitions, in percent: IOR 60 - 41 = 19, HLR 81 - 50 = 31, plain gain 45 - 40 = 5.
ACCURACIES = {
    "full_hard": 81.0,
    "set_hard": 50.0,
    "random_hard": 38.0,
    "set": 60.0,
    "random": 41.0,
    "set_plain": 45.0,
    "random_plain": 40.0,
}


def parts() -> dict[str, Part]:
    return {
        name: Part(accuracy_mean=mean, accuracy_std=1.0, repeats=5, learning_rate=0.01, searched=True)
        for name, mean in ACCURACIES.items()
    }


def test_the_scores_of_hand_worked_accuracies() -> None:
    assert list(ACCURACIES) == list(PARTS)
    scores = scores_of(parts(), "stored", "convnet", 5, 2480)
    assert (scores.ior, scores.hlr, scores.plain_gain) == pytest.approx((0.19, 0.31, 0.05))
    assert scores.lrs == pytest.approx(0.24416, abs=5e-6)  # (e^-0.06 - e^-1) / (e - e^-1)
    assert scores.ars == pytest.approx(0.32319, abs=5e-6)  # (e^0.12 - e^-1) / (e - e^-1)


def test_the_ends_of_both_scales() -> None:
    assert label_robust_score(1.0, -1.0) == pytest.approx(1.0) and label_robust_score(-1.0, 1.0) == pytest.approx(0.0)
    assert augmentation_robust_score(1.0, 1.0) == pytest.approx(1.0)
    assert augmentation_robust_score(-1.0, -1.0) == pytest.approx(0.0)
    assert label_robust_score(0.3, 0.9, weight=1.0) == augmentation_robust_score(0.3, -0.9, weight=1.0)


def test_scores_are_read_back_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_scores(folder) == (None, [])
    scores = scores_of(parts(), "stored", "convnet", 5, 2480)
    write_json(folder.scores, scores.model_dump(by_alias=True))
    assert read_scores(folder) == (scores, [])
    write_json(folder.scores, scores.model_dump(by_alias=True) | {"lrs": "high"})
    nothing, (fault,) = read_scores(folder)
    assert nothing is None and fault.where == "scores.json.lrs"
    folder.scores.write_text("{")
    nothing, (fault,) = read_scores(folder)
    assert nothing is None and fault.where == "scores.json"
