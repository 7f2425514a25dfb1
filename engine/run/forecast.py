"""What a run will cost, told before it starts: the worker writes it down, the face shows it. Files are only counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.run.catalog import Estimate, estimate, long_tailed
from engine.run.class_folders import Survey, sampled_side, survey
from engine.run.devices import Device
from engine.run.errors import InputError
from engine.run.expert_cache import NONE_CACHED, CachedExperts, cached_experts
from engine.run.folder import expanded
from engine.run.settings import RunSettings


def cost(
    settings: RunSettings,
    device: Device,
    counts: Sequence[int] | None = None,
    cached: CachedExperts = NONE_CACHED,
    found: Survey | None = None,
) -> Estimate | None:
    """The estimate, or None where only the data's own files could give it.

    counts, found: what a class keeps and what its folder holds, where they are known already.
    """
    try:
        found = found or _survey(settings)
        if found is None:
            return estimate(settings, device, counts, None, cached)
        own = counts or long_tailed(found.counts, settings.dataset)
        return estimate(_with_side(settings, found), device, [max(1, n) for n in own], found.test_images, cached)
    except (InputError, OSError):
        return None


def remaining_cost(settings: RunSettings, device: Device) -> tuple[Estimate | None, CachedExperts]:
    """What there is left to do where some of the experts are in the cache, and how many of them are."""
    try:
        found = _survey(settings)
    except (InputError, OSError):
        return None, NONE_CACHED
    counts = long_tailed(found.counts, settings.dataset) if found else None
    cached = cached_experts(settings, device.kind, counts)
    return cost(settings, device, counts, cached), cached


def promise(settings: RunSettings, device: Device) -> dict[str, Any] | None:
    """What a run writes down before it starts, to be held against what then happened; None where nobody can know."""
    found, _ = remaining_cost(settings, device)
    return (
        None
        if found is None
        else {
            "calibrated": device.calibrated,
            "stage_seconds": found.stage_seconds,
            "total_seconds": found.total_seconds,
            "memory_gib": found.memory_gib,
            "disk_gib": found.disk_gib,
        }
    )


def _survey(settings: RunSettings) -> Survey | None:
    """A folder's classes, counted by name alone; None where the catalog knows them."""
    dataset = settings.dataset
    return survey(dataset.path, dataset.test_share) if dataset.name == "folder" else None


def _with_side(settings: RunSettings, found: Survey) -> RunSettings:
    dataset = settings.dataset
    if dataset.resolution is not None:
        return settings
    side = sampled_side(expanded(dataset.path or "") / "train", found.names)
    return settings.model_copy(update={"dataset": dataset.model_copy(update={"resolution": side})})
