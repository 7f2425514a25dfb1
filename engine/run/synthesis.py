"""Settings of how images are synthesized otherwise than by matching trajectories. No torch."""

from __future__ import annotations

from engine.run.fields import Strict, official


class DistributionSettings(Strict):
    """Distribution matching (dm, idm): what is matched, and idm's queue of networks; the rest is as of matching."""

    image_lr: float = official(1.0, "step size of the synthetic images", unit="whitened pixel", ge=0)
    real_batch: int = official(
        256, "real images of a class whose mean feature is matched; at most all of the class", unit="images", ge=1
    )
    cross_entropy_weight: float = official(
        0.5,
        "idm: weight of the set's cross-entropy, times the network's train accuracy in percent (0.1 at IPC 50)",
        ge=0,
    )
    first_networks: int = official(3, "idm: networks in the queue at the start", unit="networks", ge=1)
    most_networks: int = official(100, "idm: networks in the queue at most; then the oldest goes", ge=1)
    network_every: int = official(30, "idm: iterations between new networks in the queue", unit="iterations", ge=1)
    trained_networks: int = official(2, "idm: networks of the queue that are trained after an iteration", ge=0)
    training_steps: int = official(10, "idm: steps by which each of them is trained", unit="steps", ge=1)
    training_batch: int = official(256, "idm: real images of a step, of all classes", unit="images", ge=1)
    learning_rate: float = official(0.01, "idm: SGD step size of the networks", gt=0)
    momentum: float = official(0.9, "idm: SGD momentum of the networks", ge=0, lt=1)
    weight_decay: float = official(5.0e-4, "idm: SGD weight decay of the networks", ge=0)
