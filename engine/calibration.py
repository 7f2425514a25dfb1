"""`python -m engine calibrate`: ten seconds of real work on this machine, from which its estimates are made."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch
from PIL import Image

from engine.data.image_files import read_images
from engine.device import read_device
from engine.fitting import Reading, fit
from engine.manifest import device_name
from engine.matching.student import why_not_compile
from engine.nets import build_network
from engine.nets.flat import FlatNetwork
from engine.nets.native import why_not_build
from engine.run.calibration import Calibration, torch_version, write_calibration
from engine.run.devices import COMPILE_SECONDS_A_LAYER
from engine.run.rates import Rate, Step, Work
from engine.timed_stages import seconds_of, shapes, step_readings

PRESSURE = Path("/proc/pressure/cpu")
FILES, FILE_SIDE = 256, 32
MATRIX_SIDE, EIGEN_SIDE = 1024, 512
# All that a run compiles, a layer, against the features of a network of one layer that are compiled here.
UNITS_A_LAYER = 15.0


def calibrate(device: torch.device, compiler: bool) -> Calibration:
    """Times steps of every kind and keeps the rates in the cache; `compiler`: how long compiling takes, too."""
    began, waited = time.monotonic(), _waited()
    tiny, *others = shapes(device)
    # Before anything else, and into the cache, where it is then ready for runs.
    compiles = (why_not_build() if device.type == "cpu" else why_not_compile(device)) is None
    readings = list(step_readings(tiny, device, compiles))
    before = read_device(device)  # before anything large
    for shape in others:
        readings += step_readings(shape, device, compiles)
    readings += data_readings(device)
    rates, compiled_rates = (_fitted(readings, compiled) for compiled in (False, True))
    rates["compile"] = Rate(layer=compile_seconds(device) if compiler else COMPILE_SECONDS_A_LAYER)
    seconds = time.monotonic() - began
    found = Calibration(
        device=str(device),
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch_version(),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        waited=round((_waited() - waited) / seconds, 2),
        compiler=compiler,
        runtime_gib=round(before.memory_gib, 3),
        rates=rates,
        compiled_rates=compiled_rates,
        memory_gib=round(before.memory_total_gib, 1),
    )
    write_calibration(found, [asdict(reading) for reading in readings])
    return found


def _fitted(readings: Sequence[Reading], compiled: bool) -> dict[Step, Rate]:
    by_step: dict[Step, list[Reading]] = {}
    for reading in readings:
        if reading.compiled == compiled:
            by_step.setdefault(reading.step, []).append(reading)
    return {step: fit(own) for step, own in by_step.items()}


def _waited() -> float:
    """Seconds in which something on this machine waited for a processor, as Linux counts them; 0 where nobody does."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(PRESSURE.read_text().splitlines()[0].rpartition("=")[2]) / 1e6
    return 0.0


def data_readings(device: torch.device) -> Iterator[Reading]:
    """Reading an image file, and the linear algebra of whitening, where a run does it."""
    with tempfile.TemporaryDirectory(prefix="ltdd-calibration-") as folder:
        files = [Path(folder) / f"{number}.png" for number in range(FILES)]
        for file in files:
            Image.frombytes("RGB", (FILE_SIDE, FILE_SIDE), random.Random(0).randbytes(3 * FILE_SIDE**2)).save(file)
        yield Reading("decode", Work(layers=FILES), seconds_of(lambda: read_images(files, FILE_SIDE), device))
    matrix = torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=torch.float64)
    products = Work(flops=2.0 * MATRIX_SIDE**3)
    yield Reading("covariance", products, seconds_of(lambda: matrix.T @ matrix, device))
    single, small = matrix.float(), (matrix + matrix.T)[:EIGEN_SIDE, :EIGEN_SIDE].contiguous()
    yield Reading("whiten", products, seconds_of(lambda: single @ single, device))
    yield Reading("eigen", Work(flops=float(EIGEN_SIDE) ** 3), seconds_of(lambda: torch.linalg.eigh(small), device))


def compile_seconds(device: torch.device) -> float:
    """Of one layer of a student's steps, from compiling something small that this machine has not compiled before."""
    if why_not_compile(device):
        return 0.0
    width = random.SystemRandom().randrange(64, 1024)
    shape = {"channels": 3, "classes": 10, "image_size": 8, "depth": 1}
    module = build_network("convnet", width=width, seed=0, **shape)
    network = FlatNetwork(module)
    theta, images = network.flatten(module).to(device), torch.rand(4, 3, 8, 8, device=device)
    features = torch.compile(network.features, dynamic=False)
    began = time.monotonic()
    with torch.no_grad():
        features(theta, images)
    return UNITS_A_LAYER * (time.monotonic() - began)
