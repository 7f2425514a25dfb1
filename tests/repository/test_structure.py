"""The code stays easy to enter: no import circles, short import chains, few files, and a root that fits one glance."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.structure import HALVES, circles, imports, longest_chain, modules

ROOT = Path(__file__).parents[2]
MOST_FILES = 222
MOST_IN_ROOT = 8
# Four modules of the engine lie above pipeline.py: a worker, that of a sweep, the commands and their entry.
LONGEST_CHAIN = {"engine": 16, "ltdd_tui": 12}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return imports(ROOT)


def within(half: str, graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports between the modules of one half."""
    names = {name for name in graph if name.split(".")[0] == half}
    return {name: graph[name] & names for name in names}


def test_there_are_no_import_circles(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


@pytest.mark.parametrize("half", HALVES)
def test_no_chain_of_imports_is_longer_than_its_limit(half: str, graph: dict[str, set[str]]) -> None:
    chain = longest_chain(within(half, graph))
    assert len(chain) > 1
    assert len(chain) <= LONGEST_CHAIN[half], " > ".join(chain)


def test_there_are_at_most_so_many_files(graph: dict[str, set[str]]) -> None:
    assert len(graph) <= MOST_FILES


def test_the_root_of_the_app_holds_at_most_8_modules(graph: dict[str, set[str]]) -> None:
    paths = modules(ROOT)
    assert sum(paths[name].parent == ROOT / "ltdd_tui" for name in graph) <= MOST_IN_ROOT


def test_imports_inside_functions_and_for_types_are_counted(tmp_path: Path) -> None:
    for half in HALVES:
        (tmp_path / half).mkdir()
        (tmp_path / half / "__init__.py").touch()
    (tmp_path / "engine" / "a.py").write_text("def f():\n    from engine import b\n")
    (tmp_path / "engine" / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from engine.a import f\n"
    )
    (tmp_path / "ltdd_tui" / "c.py").write_text("import engine.a\n")
    graph = imports(tmp_path)
    assert circles(graph) == [["engine.a", "engine.b"]]
    assert longest_chain(graph) == ["ltdd_tui.c", "engine.a", "engine.b"]
