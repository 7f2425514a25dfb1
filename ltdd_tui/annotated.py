"""Resolved settings as YAML, with where each value comes from beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import yaml

from engine.run.presets import DEFAULT, OVERRIDE, Resolved

TYPED = "typed here"


class Line(NamedTuple):
    """One line of YAML: `head` up to the colon, `value` behind it, and the value's origin ("" for a block)."""

    head: str
    value: str
    origin: str


def annotated(resolved: Resolved) -> list[Line]:
    """Every setting on a line of its own; an origin is a file and line, the default, or the form itself."""
    return list(_lines(resolved.settings.model_dump(mode="json"), resolved.origins, ()))


def as_yaml(lines: list[Line]) -> str:
    """The lines as text that a preset may hold; origins are comments."""
    texts = [(f"{line.head} {line.value}".rstrip(), line.origin) for line in lines]
    width = max((len(text) for text, _ in texts), default=0)
    return "".join(f"{text:{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in texts)


def _lines(values: Mapping[str, Any], origins: Mapping[str, str], above: tuple[str, ...]) -> Iterator[Line]:
    indent = "  " * len(above)
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, Mapping):
            yield Line(f"{indent}{key}:", "", "")
            yield from _lines(value, origins, path)
        else:
            yield Line(f"{indent}{key}:", _scalar(value), _short(origins.get(".".join(path), DEFAULT)))


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump([value], default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip()[1:-1]


def _short(origin: str) -> str:
    return TYPED if origin == OVERRIDE else PurePath(origin).name
