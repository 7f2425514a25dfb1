"""`python -m engine.run.settings_docs` prints docs/settings.md from the settings themselves."""

from __future__ import annotations

import inspect
from typing import Any

from engine.run.schema import Leaf, blocks, leaves

INTRODUCTION = """\
# Settings

Made by `python -m engine.run.settings_docs > docs/settings.md`; change engine/run/settings.py instead.

A preset is YAML with these keys in their blocks, and `extends: NAME_OR_PATH` for the preset that it differs from. On \
the command line a key is dotted: `--set matching.image_lr=20`. Unknown keys and text in a number's place are refused. \
YAML 1.1 reads `1e2` as text: in a file write `1.0e+2`. `expected` is never inherited.

Sources: `paper` is LTDD (arXiv 2408.14506), `official code` its published configs or code, `ours` a choice made \
here.
"""
HEAD = "| key | default | unit | range | source | help |\n| --- | --- | --- | --- | --- | --- |"


def document() -> str:
    """docs/settings.md as it has to be."""
    top = [leaf for leaf in leaves().values() if "." not in leaf.key]
    sections = [INTRODUCTION, _section("The run itself", "", top)]
    for name, block in blocks().items():
        rows = [leaf for leaf in leaves().values() if leaf.key.startswith(f"{name}.")]
        sections.append(_section(f"`{name}`", inspect.getdoc(block) or "", rows))
    return "\n".join(sections)


def _section(title: str, text: str, rows: list[Leaf]) -> str:
    about = f"{text}\n\n" if text else ""
    return f"## {title}\n\n{about}{HEAD}\n" + "".join(f"{_row(leaf)}\n" for leaf in rows)


def _row(leaf: Leaf) -> str:
    default = "needed" if leaf.required else f"`{_plain(leaf.default)}`" if leaf.default not in (None, "") else "empty"
    cells = (f"`{leaf.key}`", default, leaf.unit, range_of(leaf), leaf.source, leaf.help)
    return f"| {' | '.join(cells)} |"


def range_of(leaf: Leaf) -> str:
    """What a setting takes, with its bounds."""
    first, *others = leaf.kind.split(" or ") if leaf.bounds else [leaf.kind]
    text = " or ".join([f"{first} {leaf.bounds}".strip(), *others])
    return f"{text}{', or empty' if leaf.optional else ''}"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(document(), end="")
