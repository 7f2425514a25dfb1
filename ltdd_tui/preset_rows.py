"""The presets as the list shows them: in groups, with what each promises and costs on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from engine.run.device_profiles import Device
from engine.run.errors import Fault
from engine.run.estimate import cost
from engine.run.presets import PresetInfo, list_presets
from ltdd_tui.form import FIRST_PRESET

START, MINE = "start here", "my presets"


@dataclass(frozen=True)
class PresetRow:
    """One preset: `label` is its name without what the group's title says already.

    accuracy: published, in percent; seconds, memory_gib: estimated. None where they are not known.
    """

    name: str
    group: str
    label: str
    accuracy: float | None
    seconds: float | None
    memory_gib: float | None


def preset_rows(device: Device) -> tuple[list[PresetRow], list[Fault]]:
    """All presets, the quickstart first and one's own after it, and what is wrong with those that are left out."""
    presets, faults = list_presets()
    rows = [_row(preset, device) for preset in presets]
    order = {START: 0, MINE: 1}
    return sorted(rows, key=lambda row: order.get(row.group, 2)), faults


def _row(preset: PresetInfo, device: Device) -> PresetRow:
    group = _group(preset)
    expected, found = preset.settings.expected, cost(preset.settings, device)
    return PresetRow(
        preset.name,
        group,
        preset.name.removeprefix(f"{group}-"),
        expected.accuracy if expected else None,
        found.total_seconds if found else None,
        found.memory_gib if found else None,
    )


def _group(preset: PresetInfo) -> str:
    if preset.origin == "yours":
        return MINE
    if preset.name == FIRST_PRESET:
        return START
    dataset = preset.settings.dataset.name
    return dataset if dataset.endswith("-lt") else f"{dataset}-lt"


def matching(rows: list[PresetRow], query: str) -> list[PresetRow]:
    """The presets whose name or group has every word of the query."""
    words = query.lower().split()
    return [row for row in rows if all(word in f"{row.group} {row.name}".lower() for word in words)]
