"""Checkpoints of distillation: two are kept, and a damaged one is told and left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoints import DistillState, load_set, load_state, save_set, save_state
from engine.matching.synthetic import Synthetic
from engine.run.errors import RunFailed
from engine.run.events import Event
from engine.run.folder import RunFolder
from tests.engine.tiny_run import CPU

START = DistillState.at_start(Synthetic(torch.rand(2, 1, 4, 4), torch.rand(2, 2), torch.tensor(0.1)))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 30, 70, 120, -70, -1])
def test_a_flipped_bit_in_the_newest_costs_the_iterations_since_the_one_before(tmp_path: Path, place: int) -> None:
    folder, told = RunFolder(tmp_path), list[Event]()
    for iteration in (10, 20, 30):
        save_state(folder, replace(START, iteration=iteration))
    files = sorted(folder.checkpoint.glob("distill-*"))
    assert len(files) == 2, "two are kept"
    flip(files[1], place)
    state = load_state(folder, CPU, told.append)
    assert state is not None and state.iteration == 20 and torch.equal(state.synthetic.images, START.synthetic.images)
    assert len(told) == 1 and str(files[1]) in told[0].message and "the checkpoint before it" in told[0].message
    save_state(folder, replace(state, iteration=25))
    assert [int(file.stem[-6:]) for file in sorted(folder.checkpoint.glob("distill-*"))] == [20, 25], "both are sound"
    flip(files[0], place)
    flip(folder.checkpoint / "distill-000025.safetensors", place)
    assert load_state(folder, CPU, told.append) is None and len(told) == 3


def test_a_damaged_set_of_a_check_is_refused_by_name(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    save_set(folder, 10, START.synthetic)
    assert torch.equal(load_set(folder, 10, CPU).images, START.synthetic.images)
    flip(folder.checkpoint / "sets" / "000010.safetensors", -9)
    with pytest.raises(RunFailed, match=r"sets/000010.safetensors: the checkpoint is .*damaged: .* its checksum"):
        load_set(folder, 10, CPU)
