"""One seed in, one named generator out for every use, so that nothing depends on what ran before it."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the use that `names` spell, e.g. derived_seed(0, "matching", 17)."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own for that use: the same draws whatever the device."""
    return torch.Generator().manual_seed(derived_seed(seed, *names))
