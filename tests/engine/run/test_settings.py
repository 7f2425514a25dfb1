"""Settings are strict, documented, and named by a hash; docs/settings.md says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.run.schema import blocks, leaves
from engine.run.settings import LabelRegime, MatchingSettings, RunSettings, settings_hash
from scripts.generate_docs import range_of, settings_page

ROOT = Path(__file__).parents[3]
SOURCES = {"paper", "official code", "RLDD", "ours"}


def test_every_setting_has_help_and_a_source() -> None:
    rows = [leaf for leaf in leaves().values() if not leaf.key.startswith("expected.")]
    assert len(rows) > 50
    assert [leaf.key for leaf in rows if not leaf.help or leaf.source not in SOURCES] == []


def test_the_table_has_every_field_once() -> None:
    fields = [f"{block}.{name}" for block, model in blocks().items() for name in model.model_fields]
    fields += [name for name in RunSettings.model_fields if name not in blocks()]
    assert sorted(fields) == sorted(leaves())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ipc", "a whole number >= 1"),
        ("experts.depth", "a whole number >= 1 and <= 6"),
        ("dataset.imbalance_factor", "a number >= 1 or natural"),
        ("dataset.resolution", "a whole number >= 8, or empty"),
        ("evaluate.learning_rate", "a number > 0 or learnt"),
        ("matching.dam_weight", "one of share, none"),
        ("compile", "one of auto, always, never"),
    ],
)
def test_the_range_of_a_setting_in_words(key: str, expected: str) -> None:
    assert range_of(leaves()[key]) == expected


def test_the_documentation_is_up_to_date() -> None:
    stale = "run `python -m scripts.generate_docs`"
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), stale


@pytest.mark.parametrize(
    "values",
    [
        {"ipc": "10"},
        {"ipc": True},
        {"ipc": 0},
        {"seed": 1.0},
        {"sede": 1},
        {"method": "ltd"},
        {"dataset": {"imbalance_factor": 0.5}},
        {"dataset": {"imbalance_factor": "10"}},
        {"matching": {"image_lr": "1e2"}},
        {"matching": {"image_lr": float("inf")}},
        {"matching": {"beta": 0}},
        {"evaluate": {"arch": []}},
        {"evaluate": {"learning_rate": -1}},
        {"experts": None},
        {"matching": {"min_start_epoch": 20, "max_start_epoch": 20}},
        {"matching": {"max_start_epoch": 100}},
        {"matching": {"expert_epochs": 11}},
        {"method": "mtt", "initialize": {"labels": "teacher"}},
        {"method": "mtt", "initialize": {"labels": "stored", "start_set": "set"}},
        {"method": "rldd", "initialize": {"labels": "stored", "start_set": "set"}},
        {"method": "rldd", "initialize": {"labels": "class"}},
        {"method": "random", "initialize": {"images": "crops"}},
        {"method": "herding", "initialize": {"images": "k-center"}},
    ],
)
def test_an_invalid_value_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunSettings.model_validate(values)


def test_the_last_start_epoch_that_still_has_a_target_is_allowed() -> None:
    assert RunSettings.model_validate({"matching": {"max_start_epoch": 99}}).matching.max_start_epoch == 99


@pytest.mark.parametrize(
    ("method", "initialize"),
    [
        ("mtt", {"labels": "class"}),
        ("dm", {"labels": "teacher"}),
        ("random", {"images": "real", "labels": "one_expert"}),
        ("herding", {"images": "herding", "labels": "teacher"}),
        ("rldd", {"images": "real", "labels": "one_expert"}),
        ("imported", {"images": "crops", "labels": "stored", "start_set": "set"}),
    ],
)
def test_a_start_that_a_preset_may_have_for_another_method_is_allowed(method: str, initialize: dict[str, str]) -> None:
    assert RunSettings.model_validate({"method": method, "initialize": initialize}).method == method


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        RunSettings().ipc = 3


def test_the_hash_depends_on_values_alone() -> None:
    one, other = MatchingSettings(beta=0.5), MatchingSettings(beta=0.25)
    assert settings_hash(one, 3) == settings_hash(MatchingSettings(beta=0.5), 3)
    assert len({settings_hash(one, 3), settings_hash(other, 3), settings_hash(one, 4)}) == 3
    # Frozen: a hash that changes retrains every cached expert.
    assert settings_hash({"b": [1, 2.5], "a": None}, "x") == "fd429340af8a163d"


def test_a_label_regime_that_is_named_twice_counts_once() -> None:
    settings = RunSettings.model_validate({"evaluate": {"labels": ["online", "hard", "online"]}})
    assert settings.evaluate.labels == ("online", "hard")


@pytest.mark.parametrize("regime", ["hard", "stored", "online"])
def test_each_regime_has_the_recipe_of_its_own_block(regime: LabelRegime) -> None:
    block = "evaluate" if regime == "stored" else regime
    recipe = RunSettings.model_validate({block: {"epochs": 7, "batch_size": 3, "weight_decay": 0.25}}).recipe(regime)
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (7, 3, 0.25)
    assert (recipe.teacher_weight is None) == (regime != "online")
