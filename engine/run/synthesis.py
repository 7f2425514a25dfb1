"""Settings of how images are synthesized: by matching trajectories or features, or from statistics. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.run.fields import Precision, Strict, WholeOrAuto, official, ours, paper, rldd


class MatchingSettings(Strict):
    """The outer iterations of trajectory matching."""

    iterations: int = official(10000, "outer iterations", unit="iterations", ge=1)
    syn_steps: int = official(80, "student steps in phase rep", unit="steps", ge=1)
    syn_steps_cls: int = official(80, "student steps in phase cls", unit="steps", ge=1)
    expert_epochs: int = paper(2, "expert epochs that a student is to follow", unit="epochs", ge=1)
    batch_syn: int = official(500, "synthetic images a student step; at most all", unit="images", ge=1)
    min_start_epoch: int = official(0, "earliest expert epoch to start from", unit="epochs", ge=0)
    max_start_epoch: WholeOrAuto = official(20, "start epochs lie below this; auto: by experts.epochs", unit="epochs")
    sequential_from: int | None = official(
        None,
        "upper bound of start epochs at iteration 0, growing to max_start_epoch (DATM); empty: no growth",
        unit="epochs",
        ge=1,
    )
    sequential_until: int = official(
        1000, "iteration at which that bound reaches max_start_epoch", unit="iterations", ge=1
    )
    lambda_rep: float = official(1.0, "weight of phase rep, where there are two phases", ge=0)
    lambda_cls: float = official(0.5, "weight of phase cls", ge=0)
    beta: float = official(0.01, "student's learning rate at the start; learnt", gt=0)
    image_lr: float = official(
        100.0,
        "step size of the synthetic images; of mini-images divided by their gain",
        unit="whitened pixel",
        ge=0,
    )
    rate_decay: Literal["none", "linear", "cosine"] = ours(
        "none", "how image_lr and label_lr fall to 0 over the iterations"
    )
    label_lr: float = official(2.0, "step size of the label logits", unit="logit", ge=0)
    beta_lr: float = official(1.0e-5, "step size of beta", ge=0)
    image_momentum: float = official(0.5, "momentum of the images' SGD", ge=0, lt=1)
    label_momentum: float = official(0.9, "momentum of the labels' SGD", ge=0, lt=1)
    beta_momentum: float = official(0.5, "momentum of beta's SGD", ge=0, lt=1)
    dam_smoothness: float = paper(0.0, "lambda of the DAM loss: logit adjustment by class share", ge=0)
    dam_weight: Literal["share", "none"] = official("share", "g of the DAM loss: a class's share of the images, or 1")
    dam_weight_total: Literal["one", "classes", "auto"] = official(
        "one", "what g sums to: 1 as published, or the number of classes (ours); auto: by the length of the tail"
    )
    gradient: Literal["published", "exact", "unrolled"] = paper(
        "published",
        "constant-memory gradient (TESLA, later weights held), the true gradient in the same memory, or"
        " the true one by back-propagation through every student step",
    )
    precision: Precision = ours(
        "float32",
        "products and convolutions of the student: float32, with TF32 where a GPU has it, or of bfloat16; weights,"
        " losses and sums stay float32",
    )
    images_at_once: Annotated[int, Field(ge=1)] | Literal["auto"] = ours(
        "auto",
        "synthetic images that are in work at a time: parts of a large batch, or several steps of the published"
        " gradient; halved where a GPU's memory is too small",
        unit="images",
    )
    emulate_replicas: int = official(
        1,
        "GPUs whose data-parallel averaging is imitated (the student's displacement is divided by it)",
        unit="GPUs",
        ge=1,
    )
    trajectories: int = ours(1, "trajectories of an iteration, whose gradients are averaged (a gang shares them)", ge=1)
    average: float = ours(
        0.0,
        "decay of the exponential moving average (EMA) of the set over the iterations, which is the result; 0: none",
        ge=0,
        lt=1,
    )
    max_recoveries: int = ours(
        3, "times that matching, once it diverges, goes back to a checkpoint with all its rates halved", ge=0
    )
    checkpoint_every: int = ours(50, "iterations between checkpoints", unit="iterations", ge=1)
    preview_every: int = ours(50, "iterations between previews of the images", unit="iterations", ge=1)


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
