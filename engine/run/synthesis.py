"""Settings of how images are synthesized otherwise than by matching trajectories. No torch."""

from __future__ import annotations

from engine.run.fields import Strict, official, rldd


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


class RecoverySettings(Strict):
    """Recovery by the teacher's statistics (method rldd), over matching.iterations; published are 75 for CIFAR-10, 2000
    for CIFAR-100 and Tiny-ImageNet."""

    batch_size: int = rldd(100, "synthetic images whose statistics are taken together", unit="images", ge=1)
    learning_rate: float = rldd(
        0.05,
        "Adam's step size, which falls to 0 along half a cosine",
        unit="standard deviation of pixels",
        gt=0,
    )
    smallest_crop: float = rldd(0.08, "smallest share of an image in the random crop of each iteration", gt=0, le=1)
    statistics_weight: float = rldd(0.01, "weight of the distances of statistics, beside the cross-entropy", ge=0)
    first_layer_weight: float = rldd(10.0, "weight of the first layer's distances among those of all layers", ge=0)
    statistics_momentum: float = rldd(
        0.8, "share of earlier iterations in the statistics of the synthetic images", ge=0, lt=1
    )
