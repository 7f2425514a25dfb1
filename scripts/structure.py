"""Measures how hard the code is to enter: `python -m scripts.structure [FOLDER]` (default: this checkout).

For each half it counts files that are not empty, their lines, the modules in its root, the files that exactly one
other file imports, the longest chain of imports and the circles. Imports inside functions and under TYPE_CHECKING
count like any other: a reader has to follow them too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HALVES = ("engine", "ltdd_tui")


def modules(root: Path) -> dict[str, Path]:
    """Every module of both halves by its dotted name; a package is its `__init__`."""
    named = {}
    for half in HALVES:
        for path in sorted((root / half).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports(root: Path) -> dict[str, set[str]]:
    """For each module that is not empty, the others of the two halves that it imports, wherever in the file."""
    named = modules(root)
    graph = {}
    for name, path in named.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if tree.body:
            graph[name] = set(_imported(tree, named)) - {name}
    return {name: {other for other in others if other in graph} for name, others in graph.items()}


def _imported(tree: ast.Module, named: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in named)
        elif isinstance(node, ast.ImportFrom) and node.module in named:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in named else node.module


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    reached = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other]) for name in graph if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain in which each module imports the next; an import back into the chain does not count."""
    longest: dict[str, list[str]] = {}

    def chain(name: str, above: tuple[str, ...]) -> list[str]:
        if name not in longest:
            below = [chain(other, (*above, name)) for other in sorted(graph[name]) if other not in above]
            longest[name] = [name, *max(below, key=len, default=[])]
        return longest[name]

    return max((chain(name, ()) for name in graph), key=len, default=[])


def _report(half: str, root: Path, graph: dict[str, set[str]]) -> None:
    members = {name for name in graph if name.split(".")[0] == half}
    within = {name: graph[name] & members for name in sorted(members)}
    named = modules(root)
    lines = {name: len(named[name].read_text(encoding="utf-8").splitlines()) for name in within}
    users = {name: sum(name in others for others in graph.values()) for name in within}
    chain = longest_chain(within)
    print(f"{half}: {len(within)} files, {sum(lines.values()):,} lines, longest {max(lines.values())}")
    print(f"  modules in its root: {sum(named[name].parent == root / half for name in within)}")
    print(f"  imported by exactly one other file: {sum(count == 1 for count in users.values())}")
    print(f"  longest chain of imports: {len(chain)}: {' > '.join(name.removeprefix(half + '.') for name in chain)}")
    for circle in circles(within):
        print(f"  circle: {', '.join(circle)}")


def main() -> None:
    """Prints the figures of both halves, and of the two together."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    graph = imports(root)
    for half in HALVES:
        _report(half, root, graph)
    chain = longest_chain(graph)
    print(f"both: {len(graph)} files, longest chain {len(chain)}: {' > '.join(chain)}; {len(circles(graph))} circles")


if __name__ == "__main__":
    main()
