"""Every setting is read by somebody: its name is an attribute in the engine, outside the settings' own file."""

from __future__ import annotations

import ast
from pathlib import Path

from engine.run.schema import leaves

ROOT = Path(__file__).parents[2]
# The settings themselves, and what only estimates, checks or prints them.
TELLERS = {
    "settings.py",
    "schema.py",
    "datasets.py",
    "cost_model.py",
    "memory_model.py",
    "estimate.py",
    "validation.py",
}
# `expected` is for the app (ltdd_tui), which shows it beside the result.
FOR_THE_FACE = {"accuracy", "source", "note"}


def attributes(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*.py") if path.parent.name != "run" or path.name not in TELLERS]
    return {
        node.attr for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)
    }


def test_every_setting_is_read_by_the_engine() -> None:
    read = attributes(ROOT / "engine")
    names = {key: key.rpartition(".")[2] for key in leaves()}
    assert len(names) > 50
    assert [key for key, name in names.items() if name not in read | FOR_THE_FACE] == []


def test_the_published_accuracy_is_read_by_the_app_or_the_engine() -> None:
    assert "expected" in attributes(ROOT / "ltdd_tui") | attributes(ROOT / "engine")
