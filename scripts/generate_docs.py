"""`python -m scripts.generate_docs` rewrites what is made from the code.

These are docs/settings.md, docs/events.md, docs/bad-input.md and the `# Estimate` comment of each shipped preset; tests
fail where they are stale.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from engine.run.device_profiles import CUDA, cpu
from engine.run.errors import InputError
from engine.run.estimate import estimate
from engine.run.events import EVENT_TYPES, VERSION
from engine.run.folder import write_atomically
from engine.run.presets import load_preset, preset_files, shipped_folder
from engine.run.schema import Leaf, blocks, leaves
from engine.run.settings import RunSettings
from engine.sweep.grid import Sweep, load_sweep
from ltdd_tui.launch.sweeps import cost_of
from tests.bad_input import BAD_INPUTS, BadInput

DOCS = Path(__file__).parents[1] / "docs"

SETTINGS_INTRODUCTION = """\
# Settings

Made by `python -m scripts.generate_docs`; change engine/run/settings.py instead.

A preset is YAML with these keys in their blocks, and `extends: NAME_OR_PATH` for the preset that it differs from. On \
the command line a key is dotted: `--set matching.image_lr=20`. Unknown keys and text in a number's place are refused. \
Numbers are decimal (`010` is ten) and may have an exponent, with or without dot and sign: `1e-3`, `2.5e3`. \
`expected` is never inherited.

Sources: `paper` is LTDD (arXiv 2408.14506), `official code` its published configs or code, `RLDD` that paper (arXiv \
2511.18858) and its code, `ours` a choice made here.
"""
SETTINGS_HEAD = "| key | default | unit | range | source | help |\n| --- | --- | --- | --- | --- | --- |"


def settings_page() -> str:
    """docs/settings.md as it has to be."""
    top = [leaf for leaf in leaves().values() if "." not in leaf.key]
    sections = [SETTINGS_INTRODUCTION, _settings_section("The run itself", "", top)]
    for name, block in blocks().items():
        rows = [leaf for leaf in leaves().values() if leaf.key.startswith(f"{name}.")]
        sections.append(_settings_section(f"`{name}`", inspect.getdoc(block) or "", rows))
    return "\n".join(sections)


def _settings_section(title: str, text: str, rows: list[Leaf]) -> str:
    lines = [f"## {title}\n", *([f"{text}\n"] if text else []), SETTINGS_HEAD]
    for leaf in rows:
        default = f"[{', '.join(leaf.default)}]" if isinstance(leaf.default, tuple) else leaf.default
        shown = "needed" if leaf.required else "empty" if default in (None, "") else f"`{default}`"
        lines.append(f"| `{leaf.key}` | {shown} | {leaf.unit} | {range_of(leaf)} | {leaf.source} | {leaf.help} |")
    return "\n".join([*lines, ""])


def range_of(leaf: Leaf) -> str:
    """What a setting takes, with its bounds."""
    first, *others = leaf.kind.split(" or ") if leaf.bounds else [leaf.kind]
    text = " or ".join([f"{first} {leaf.bounds}".strip(), *others])
    return f"{text}{', or empty' if leaf.optional else ''}"


EVENTS_INTRODUCTION = f"""\
# Events

Made by `python -m scripts.generate_docs`; change engine/run/events.py instead.

A run tells what happens in `events.jsonl`, one JSON object a line, appended and never changed: \
`{{"v": {VERSION}, "seq": n, "t": seconds since 1970, "type": ..., ...fields, "crc32": of the line \
without it}}`. `seq` counts lines from 0. A crash \
may leave a torn line; a resumed run tells once more what lies past its last checkpoint. A number that is not finite \
is null. Accuracies are percent. A field with a default may be absent in an older run's file.
"""
EVENTS_HEAD = "| type | fields | what it says |\n| --- | --- | --- |"
JSON_TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", NoneType: "null"}


def events_page() -> str:
    """docs/events.md as it has to be."""
    lines = [EVENTS_INTRODUCTION, EVENTS_HEAD]
    for name, kind in EVENT_TYPES.items():
        hints, fields = get_type_hints(kind), []
        for field in dataclasses.fields(kind):
            default = "" if field.default is dataclasses.MISSING else f", default `{json.dumps(field.default)}`"
            fields.append(f"`{field.name}` {in_words(hints[field.name])}{default}")
        lines.append(f"| `{name}` | {'<br>'.join(fields)} | {' '.join((inspect.getdoc(kind) or '').split())} |")
    return "\n".join([*lines, ""])


def in_words(hint: Any) -> str:
    """A field's type as JSON has it; raises KeyError for one that no event had before."""
    inner = get_args(hint)
    match get_origin(hint):
        case origin if origin in (Union, UnionType):
            return " or ".join(in_words(choice) for choice in inner)
        case origin if origin is Literal:
            return " or ".join(inner)
        case origin if origin is list:
            return f"list of {in_words(inner[0])}"
        case origin if origin is dict:
            return f"object of {in_words(inner[1])}"
        case _:
            return JSON_TYPES[hint]


BAD_INPUT_INTRODUCTION = """\
# Bad input

Made by `python -m scripts.generate_docs` from tests/bad_input.py. A test gives each of these inputs to the program \
and holds the message and the exit code. Paths are below the folder where the command was given.
"""
BAD_INPUT_HEAD = "| input | message | exit code |\n| --- | --- | --- |"


def bad_input_page() -> str:
    """docs/bad-input.md as it has to be."""
    lines = [BAD_INPUT_INTRODUCTION]
    for topic, cases in BAD_INPUTS.items():
        rows = [f"| {_bad_input(case)} | {_code(case.message)} | {case.exit_code} |" for case in cases]
        lines += [f"## {topic}\n", BAD_INPUT_HEAD, *rows, ""]
    return "\n".join(lines)


def _bad_input(case: BadInput) -> str:
    """What was given: in words, by the environment, by the files, and by the command."""
    parts = [case.given] if case.given else []
    parts += [_code(f"{name}={value}") for name, value in case.environment.items()]
    for name, content in case.files.items():
        text = content.rstrip("\n") if isinstance(content, str) else repr(content)
        parts.append(f"{_code(name)}: {_code(text) if text else 'empty'}")
    return "<br>".join([*parts, _code(case.command)])


def _code(text: str) -> str:
    """Lines as code in a cell of a table, where Markdown would read `|` as the next cell."""
    ticks = "``" if "`" in text else "`"
    pad = " " if ticks == "``" else ""
    return "<br>".join(f"{ticks}{pad}{line}{pad}{ticks}" for line in text.replace("|", "\\|").split("\n"))


ESTIMATE_DEVICES = {"one H200-class GPU": CUDA, "two CPU cores": cpu(2)}
ESTIMATE_LINE = re.compile(r"^# Estimate, (?P<device>[^:\n]+):.*$", re.MULTILINE)


def estimate_line(settings: RunSettings, device: str) -> str:
    """Time, memory and disk of a preset on one of ESTIMATE_DEVICES, as its comment tells them."""
    cost = estimate(settings, ESTIMATE_DEVICES[device])
    memory = "memory" if device.endswith("cores") else "GPU memory"
    return (
        f"# Estimate, {device}: {_duration(cost.total_seconds)}, {cost.memory_gib:.1f} GiB of {memory},"
        f" {_size(cost.disk_gib)} of disk."
    )


def with_sweep_estimate(text: str, sweep: Sweep) -> str:
    """A sweep's text with its estimate recomputed: what cells share is counted once, and nothing is in the cache."""
    line = ESTIMATE_LINE.search(text)
    if line is None or line["device"] not in ESTIMATE_DEVICES:
        raise InputError("there is no estimate", hint=f"# Estimate, {' | '.join(ESTIMATE_DEVICES)}: ...")
    cost = cost_of(sweep.cells, ESTIMATE_DEVICES[line["device"]], with_cache=False)
    told = f"# Estimate, {line['device']}: {len(sweep.cells)} cells, {_duration(cost.total_seconds)} one after another."
    return ESTIMATE_LINE.sub(told, text, count=1)


def with_estimate(text: str, settings: RunSettings) -> str:
    """A preset's text with its estimate recomputed; raises InputError where it has no such line.

    One for a person's own folder has none: only the files tell how many images there are.
    """
    if settings.dataset.name == "folder":
        return text
    line = ESTIMATE_LINE.search(text)
    if line is None or line["device"] not in ESTIMATE_DEVICES:
        raise InputError("there is no estimate", hint=f"# Estimate, {' | '.join(ESTIMATE_DEVICES)}: ...")
    return ESTIMATE_LINE.sub(estimate_line(settings, line["device"]), text, count=1)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{1024 * gib:.0f} MiB"


def main() -> None:
    """Rewrites the pages and the shipped presets in place."""
    write_atomically(DOCS / "settings.md", settings_page())
    write_atomically(DOCS / "events.md", events_page())
    write_atomically(DOCS / "bad-input.md", bad_input_page())
    for path, origin in preset_files().values():
        if origin == "shipped":
            write_atomically(path, with_estimate(path.read_text(), load_preset(str(path))))
    for path in sorted((shipped_folder() / "sweeps").glob("*.yaml")):
        write_atomically(path, with_sweep_estimate(path.read_text(), load_sweep(str(path))))


if __name__ == "__main__":
    main()
