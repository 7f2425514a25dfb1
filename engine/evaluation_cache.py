"""Networks of evaluations that an earlier run has trained and tested: their results, by the hash of what made them.

Runs of one sweep evaluate the same sets: random images are the same for every method, and methods that start alike have
the same initialization. A result is taken only where the network would come out equal: trained on the same set by the
same recipe from the same seed, tested on the same images, on a device, threads and versions alike.

<cache>/evaluations/<hash>.json holds the networks that were trained at once: on a GPU, those of a group round otherwise
than each alone.
"""

from __future__ import annotations

import json
from typing import Any

from engine.run import folder
from engine.run.settings import settings_hash
from engine.training.accuracy import NetworkResult

EVALUATION_VERSION = 1
"""Goes up when a change of the code changes what such a network becomes, so that older ones are not taken."""


def evaluation_key(*made_by: Any) -> str:
    """The hash of everything that made some networks: plain values, names and hashes of contents."""
    return settings_hash("evaluation", EVALUATION_VERSION, *made_by)


def read_networks(key: str, count: int, classes: int) -> list[NetworkResult] | None:
    """The results of these networks; None where there are none, or the file is damaged."""
    results = folder.read_json(folder.evaluations_root() / f"{key}.json")
    if not isinstance(results, list) or len(results) != count:
        return None
    whole = all(isinstance(one, dict) and len(one.get("per_class", ())) == classes for one in results)
    return results if whole else None


def write_networks(key: str, results: list[NetworkResult]) -> None:
    """Keeps the results for later runs. Not synced to the disk: one that a power failure damages is trained again."""
    folder.write_atomically(folder.evaluations_root() / f"{key}.json", json.dumps(results), sync=False)
