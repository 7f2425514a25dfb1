"""Finding a setting by a part of its name, or by a word of what is told about it."""

from __future__ import annotations

from engine.run.schema import Leaf, leaves
from ltdd_tui.form import BASIC, more_settings


def find_settings(query: str, limit: int = 6) -> list[Leaf]:
    """The settings that fit best, best first: by name, then by key, then by a word of their help."""
    wanted = query.strip().lower().replace(" ", "_")
    if not wanted:
        return []
    found = [leaves()[key] for key in BASIC] + [leaf for block in more_settings().values() for leaf in block]
    ranked = sorted((_rank(leaf, wanted), place) for place, leaf in enumerate(found))
    return [found[place] for rank, place in ranked if rank < NO_MATCH][:limit]


NO_MATCH = 5


def _rank(leaf: Leaf, wanted: str) -> int:
    name = leaf.key.rpartition(".")[2]
    tests = (
        wanted in (name, leaf.key),
        name.startswith(wanted),
        wanted in name,
        wanted in leaf.key,
        wanted.replace("_", " ") in leaf.help.lower(),
    )
    return next((rank for rank, fits in enumerate(tests) if fits), NO_MATCH)
