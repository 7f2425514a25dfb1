"""Parts of a run that other processes than its worker do: experts and networks of the teacher, or a gang's gradients.

Each is a function of settings alone, into the cache or back to rank 0, and may be done again.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from engine.context import Clock, Context
from engine.distributed import ALONE, Gang
from engine.manifest import versions
from engine.resume import load_run_data
from engine.run.errors import InputError
from engine.run.expert_cache import ABOUT
from engine.run.folder import RunFolder
from engine.run.settings import RunSettings
from engine.stages import distill
from engine.stages.experts import classifier_store, representation_store, train_or_load_experts
from engine.stages.teacher import train_teacher_network
from engine.training.from_scratch import fresh_network
from engine.trajectories import ExpertStore


@contextlib.contextmanager
def _without_folder(settings: RunSettings, device: torch.device, gang: Gang = ALONE) -> Iterator[Context]:
    """A context for one part of a run: what a stage notes in the run folder is thrown away, the cache is kept."""
    with tempfile.TemporaryDirectory() as scratch:
        yield Context(settings, RunFolder(scratch), device, lambda event: None, lambda: None, Clock(None), gang)


def make_experts(settings: RunSettings, device: torch.device, numbers: Sequence[int]) -> list[Path]:
    """Trains the experts of these numbers, with their classifier experts, into the cache; returns all their files."""
    with _without_folder(settings, device) as context:
        data = load_run_data(context)
        train_or_load_experts(context, data, numbers)
        stores = [representation_store(context, data)]
        if settings.trains_classifier_experts:
            stores.append(classifier_store(context, data))
        return [path for store in stores for path in _files(store, numbers)]


def make_teacher_network(settings: RunSettings, device: torch.device, number: int) -> list[Path]:
    """Trains one of the networks that are trained as the teacher alone, into the cache; returns its files."""
    with _without_folder(settings, device) as context:
        data = load_run_data(context)
        network, _ = fresh_network(settings, data, settings.experts.network)
        return _files(train_teacher_network(context, data, network, number), [number])


def _files(store: ExpertStore, numbers: Sequence[int]) -> list[Path]:
    return [store.folder / ABOUT, *(store.path(number) for number in numbers)]


# ---- A gang ----


def assist(gang: Gang, device: torch.device) -> None:
    """What ranks of a gang other than 0 do (engine/distributed.py): gradients of their share of the trajectories.

    Ends with rank 0's run. Raises InputError where this rank has other images or other versions than rank 0.
    """
    if not (order := gang.receive()):
        return  # rank 0 had no work to share
    of_rank_0, where = json.loads(order), f"rank {gang.rank} of {gang.size}"
    theirs, here = of_rank_0["versions"], versions()
    if theirs != here:
        others = [f"{name} {theirs[name]} (here {here[name]})" for name in here if theirs[name] != here[name]]
        what = f"rank 0 has other versions: {', '.join(others)}"
        raise InputError(what, where, "install the same versions on all machines")
    settings = RunSettings.model_validate(of_rank_0["settings"])
    with _without_folder(settings, device, gang) as context:
        data = load_run_data(context)
        if data.fingerprint != of_rank_0["images"]:
            hint = "put the same files there, or decode them with the same version of Pillow"
            raise InputError("its images are not those of rank 0", where, hint)
        experts = train_or_load_experts(context, data)
        distill.assist(context, lambda start: distill.student_matcher(context, data, *experts, start))
