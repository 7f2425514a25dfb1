"""Experts trained elsewhere: replay_buffer_*.pt of the MTT family (MTT, DATM, LTDD) into the cache of experts.

A file is a list of experts, an expert a list of its weights at the start and after each epoch, and these a list of
tensors in the order of the ConvNet's parameters: of each block the convolution's weight and bias and the norm's, then
the classifier's. Ours has the same parameters in the same order.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.data.dataset import LongTailedData, load_long_tailed
from engine.importing.set_files import load_tensors
from engine.nets.functional import FlatNetwork
from engine.run.errors import InputError
from engine.run.events import Emit
from engine.run.expert_cache import IMPORTED, network_facts
from engine.run.locks import exclusive
from engine.run.regular_files import natural_order, open_regular
from engine.run.settings import RunSettings, settings_hash
from engine.training.accuracy import balanced, per_class_accuracy
from engine.training.from_scratch import fresh_network
from engine.trajectories import ExpertStore, Trajectory

EXPECTED = "a replay buffer is a list of experts, each a list of epochs, each a list of the network's tensors"


def import_experts(path: Path, settings: RunSettings, device: torch.device, emit: Emit) -> str:
    """Converts the experts of a file, or of all replay_buffer_*.pt in a folder; returns what experts.imported takes.

    They are tested on the data set of the settings and kept in a folder of their own, named by a hash of the files, the
    data and the network.
    Raises InputError where their layers are not those of the settings' network.
    """
    if settings.experts.network != "convnet":
        what = f"replay buffers hold ConvNets, experts.network is {settings.experts.network}"
        raise InputError(what, "experts.network", "--set experts.network=convnet")
    files = _buffer_files(path)
    data = load_long_tailed(settings.dataset, settings.ipc, device, emit)
    network, _ = fresh_network(settings, data, "convnet")
    digests = {file.name: _sha256(file) for file in files}
    made_of = list(digests.values()), data.fingerprint, network_facts(settings.experts)
    store = ExpertStore(settings_hash(IMPORTED, *made_of), "float32", emit)
    with exclusive(store.lock, "these experts are being imported"):
        count, epochs = 0, []
        for file in files:
            for expert in _experts(file):
                trajectory = store.load(count, 0) or _converted(expert, f"{file.name}, expert {count}", network, data)
                store.save(count, trajectory)
                epochs.append(trajectory.last_epoch_kept)
                _print_accuracy(count, trajectory)
                count += 1
        store.describe(
            {
                "kind": IMPORTED,
                "source": str(path.absolute()),
                "sha256": digests,
                "experts": count,
                "epochs": min(epochs),
                "network": network_facts(settings.experts),
                "parameters": network.num_parameters,
                "dataset": settings.dataset.model_dump(mode="json"),
                "tested_on": data.fingerprint,
            }
        )
    return store.key


def _buffer_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.glob("replay_buffer*.pt"), key=lambda file: natural_order(file.name))
    if not files:
        raise InputError("there is no replay_buffer_*.pt", str(path), "name the file, or the folder that holds them")
    return files


def _sha256(file: Path) -> str:
    with open_regular(file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _experts(file: Path) -> Iterator[Any]:
    experts = load_tensors(file)
    if not isinstance(experts, list) or not experts:
        raise InputError("this is no replay buffer", str(file), EXPECTED)
    yield from experts


def _converted(expert: Any, where: str, network: FlatNetwork, data: LongTailedData) -> Trajectory:
    """One expert as a trajectory of all its epochs, tested on the data's test images."""
    if not isinstance(expert, list) or len(expert) < 2:
        raise InputError("an expert needs weights of its start and of an epoch at least", where, EXPECTED)
    snapshots = [_flat(tensors, f"{where}, epoch {epoch}", network) for epoch, tensors in enumerate(expert)]
    last = snapshots[-1].to(data.train_images.device)
    per_class = per_class_accuracy(network, last, data.test_images, data.test_labels)
    # The last weights stand a second time behind all epochs, as in a trajectory that keeps only the first of them.
    return Trajectory(torch.stack([*snapshots, snapshots[-1]]), per_class, torch.tensor(network.classifier_norms(last)))


def _flat(tensors: Any, where: str, network: FlatNetwork) -> Tensor:
    """The weights (P,) of one epoch; raises InputError at the first layer that is not the network's."""
    if not isinstance(tensors, list | tuple) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise InputError("no list of tensors", where, EXPECTED)
    wanted = network.parameter_shapes
    hint = "choose the preset, or experts.width and experts.depth, of the network that they were trained with"
    for tensor, (name, shape) in zip(tensors, wanted.items(), strict=False):
        if tuple(tensor.shape) != shape:
            raise InputError(f"{name} has the shape {tuple(tensor.shape)}, the run's network {shape}", where, hint)
    if len(tensors) != len(wanted):
        raise InputError(f"{len(tensors)} tensors, the run's network has {len(wanted)}", where, hint)
    weights = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
    if not weights.isfinite().all():
        raise InputError("some weights are NaN or infinite", where, "leave this file out")
    return weights


def _print_accuracy(expert: int, trajectory: Trajectory) -> None:
    accuracy, epochs = balanced(trajectory.per_class), trajectory.last_epoch_kept
    print(f"expert {expert}: {epochs} epochs, {accuracy:.1f} % on the test images", file=sys.stderr)
