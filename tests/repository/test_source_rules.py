"""Rules of the source that ruff cannot check: short files and functions, docstrings, no duplicated functions."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("engine", "ltdd_tui") for path in (ROOT / package).rglob("*.py"))
IN_CPP = sorted(path for path in (ROOT / "engine").rglob("*") if path.suffix in (".cpp", ".h"))
COMMITTED = ("engine", "ltdd_tui", "tests", "presets", "docs", "scripts", "benchmarks", ".ci", ".github")
# In pieces, so that this file does not name what it looks for.
REGISTRY_HOSTS = [".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs"))]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def definitions(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, Function | ast.ClassDef))


def place(path: Path, node: Function | ast.ClassDef) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def body_without_docstring(node: Function) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in SOURCES}


def test_source_files_are_found() -> None:
    assert len(SOURCES) > 20


def test_no_file_is_longer_than_400_lines() -> None:
    assert [str(path.relative_to(ROOT)) for path in SOURCES + IN_CPP if len(path.read_text().splitlines()) > 400] == []


def test_no_function_is_longer_than_80_lines(trees: dict[Path, ast.Module]) -> None:
    long = [
        place(path, node)
        for path, tree in trees.items()
        for node in definitions(tree)
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno > 80
    ]
    assert long == []


def test_no_function_in_cpp_is_longer_than_80_lines() -> None:
    """A function begins at the margin after an empty line and ends with a brace at the margin."""
    assert IN_CPP
    for path in IN_CPP:
        for before_brace in re.split(r"^\}", path.read_text(), flags=re.MULTILINE)[:-1]:
            body = re.split(r"\n\n(?=[^\s#])", before_brace)[-1]
            assert body.count("\n") <= 80, f"{path.relative_to(ROOT)}: {body.strip().splitlines()[0]}"


def test_every_public_function_and_class_has_a_docstring(trees: dict[Path, ast.Module]) -> None:
    bare = [
        place(path, node)
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert bare == []


def test_no_module_is_named_utils_or_helpers() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert [str(path.relative_to(ROOT)) for path in SOURCES if vague & {path.stem, path.parent.name}] == []


def test_no_function_body_is_duplicated(trees: dict[Path, ast.Module]) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees.items():
        for node in definitions(tree):
            if isinstance(node, Function):
                body = ast.Module(body_without_docstring(node), [])
                # Forty nodes are about two lines of code: shorter functions may well be equal by chance.
                if sum(1 for _ in ast.walk(body)) >= 40:
                    places[ast.dump(body)].append(place(path, node))
    assert [same for same in places.values() if len(same) > 1] == []


def test_no_committed_file_names_a_package_registry() -> None:
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in COMMITTED for path in (ROOT / folder).rglob("*") if path.is_file()]
    naming = []
    for path in files:
        if path.suffix == ".pyc":
            continue
        text = path.read_bytes().decode(errors="ignore")
        naming += [f"{path.relative_to(ROOT)}: {host}" for host in REGISTRY_HOSTS if host in text]
    assert naming == []
