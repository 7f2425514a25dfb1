"""The keys of the screen: which are active now and by what id, and what is wrong with a person's own choice of keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode
from textual.keys import Keys
from textual.screen import Screen

from engine.run.errors import Fault

NAMED_KEYS = {key.value for key in Keys} | {"space", "slash", "question_mark", "full_stop", "comma", "plus", "minus"}
EVERYWHERE = "everywhere"


@dataclass(frozen=True)
class KeyRow:
    """What some keys do; `id` is what preferences.yaml calls it."""

    keys: str
    what: str
    id: str


@dataclass(frozen=True)
class KeyGroup:
    """The keys of one place: a panel, the screen, or the whole program."""

    title: str
    rows: tuple[KeyRow, ...]


def active_keys(screen: Screen[object]) -> list[KeyGroup]:
    """The keys that work on a screen as it is now, from the focused widget outwards."""
    places: dict[DOMNode, dict[tuple[str, str], list[ActiveBinding]]] = {}
    for active in screen.active_bindings.values():
        # Textual's own, such as those that edit a field, have no id and cannot be changed.
        if active.binding.id:
            of_place = places.setdefault(active.node, {})
            of_place.setdefault((active.binding.id, active.binding.action), []).append(active)
    found = [KeyGroup(_title(place), tuple(_rows(screen.app, deeds))) for place, deeds in places.items()]
    return sorted(found, key=lambda group: group.title == EVERYWHERE)


def _title(place: DOMNode) -> str:
    if isinstance(place, App):
        return EVERYWHERE
    if isinstance(place, Screen):
        return "on this screen"
    return f"in: {getattr(place, 'TITLE', type(place).__name__)}"


def _rows(app: App[object], deeds: Mapping[tuple[str, str], list[ActiveBinding]]) -> Iterator[KeyRow]:
    for (binding_id, _), active in deeds.items():
        shown = dict.fromkeys(app.get_key_display(one.binding) for one in active)
        yield KeyRow("  ".join(shown), active[0].binding.description, binding_id)


Places = list[dict[str, set[str]]]
"""For each class with keys: its ids, and the keys that each of them has."""


def key_places() -> Places:
    """The keys of this program as they are unless changed, wherever they work."""
    load_screens()
    found: Places = []
    for kind in _kinds(DOMNode):
        keys: dict[str, set[str]] = {}
        for binding in Binding.make_bindings(vars(kind).get("BINDINGS", [])):
            if binding.id:
                keys.setdefault(binding.id, set()).add(binding.key)
        if keys:
            found.append(keys)
    return found


def load_screens() -> None:
    """Loads what the first picture does without: keys are known, and a screen opens at once, when this is done."""
    import ltdd_tui.screens.compare
    import ltdd_tui.screens.help
    import ltdd_tui.screens.launch
    import ltdd_tui.screens.run
    import ltdd_tui.screens.runs  # noqa: F401


def _kinds(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("ltdd_tui"):
            yield below
        yield from _kinds(below)


def checked(chosen: Mapping[str, str], places: Places, where: str) -> tuple[dict[str, str], list[Fault]]:
    """The keys chosen by id that can be used, and what is wrong: no such id, no such key, a key taken from another."""
    ids = {binding_id for place in places for binding_id in place}
    faults = {binding_id: list(_faults(binding_id, keys, ids, where)) for binding_id, keys in chosen.items()}
    sound = {binding_id: keys for binding_id, keys in chosen.items() if not faults[binding_id]}
    return sound, [*(fault for found in faults.values() for fault in found), *_clashes(sound, places, where)]


def _faults(binding_id: str, keys: str, ids: set[str], where: str) -> Iterator[Fault]:
    place = f"{where}: keys.{binding_id}"
    if binding_id not in ids:
        near = difflib.get_close_matches(binding_id, ids, 1)
        yield Fault("nothing has this id", place, f"did you mean {near[0]}?" if near else "F1 lists the ids")
        return
    for key in keys.split(","):
        name = key.strip().split("+")[-1]
        if len(name) != 1 and name not in NAMED_KEYS:
            near = difflib.get_close_matches(name, NAMED_KEYS, 1)
            yield Fault(f"there is no key {key.strip()!r}", place, f"did you mean {near[0]}?" if near else "")


def _clashes(chosen: Mapping[str, str], places: Places, where: str) -> Iterator[Fault]:
    """Keys that two ids of one place would have: the last one gets it, so a person should know."""
    for place in places:
        now = {
            binding_id: _split(chosen[binding_id]) if binding_id in chosen else keys
            for binding_id, keys in place.items()
        }
        for binding_id in chosen.keys() & now.keys():
            for other, keys in now.items():
                if other != binding_id and (taken := now[binding_id] & keys):
                    yield Fault(
                        f"{min(taken)} is the key of {other} too", f"{where}: keys.{binding_id}", "choose another"
                    )


def _split(keys: str) -> set[str]:
    return {binding.key for binding in Binding.make_bindings([Binding(keys, "")])}
