"""Which networks there are, for names that come from outside."""

from __future__ import annotations

from typing import get_args

from engine.run.errors import InputError
from engine.run.settings import NetworkName


def known_network(name: str) -> NetworkName:
    """The network of that name; raises InputError, with those there are, for any other."""
    known: tuple[NetworkName, ...] = get_args(NetworkName)
    for candidate in known:
        if candidate == name:
            return candidate
    raise InputError(f"there is no network {name!r}", "arch", f"the networks are {', '.join(known)}")
