"""What a run will cost: it adds up, grows with the work, and leaves out what will not be done."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from engine.run.cost_model import STATISTICS
from engine.run.device_profiles import COMPILED_BY_TORCH, CUDA, Device, Rate, StepKind, cpu
from engine.run.errors import InputError
from engine.run.estimate import Estimate, estimate
from engine.run.expert_cache import CachedExperts
from engine.run.network_cost import Work, network_cost
from engine.run.settings import RunSettings

STEPS: tuple[StepKind, ...] = get_args(StepKind)
TWO_CORES = cpu(2)


def settings(**blocks: object) -> RunSettings:
    return RunSettings.model_validate({"dataset": {"name": "cifar10", "imbalance_factor": 100}, **blocks})


def only(step: StepKind, rate: Rate, kind: str = "cpu", **compiled: Rate) -> Device:
    """A device on which nothing but one kind of step takes time."""
    rates = {own: rate if own == step else Rate() for own in STEPS}
    return Device(kind, rates, compiled, 0.0)  # type: ignore[arg-type]


def counted(step: StepKind, run: RunSettings, **more: object) -> Estimate:
    """A second a layer of one kind of step: its seconds count steps times layers."""
    return estimate(run, only(step, Rate(layer=1.0)), **more)  # type: ignore[arg-type]


LAYERS = 4  # three blocks and the classifier
TRAIN = 12406


@pytest.mark.parametrize("device", [CUDA, TWO_CORES])
def test_stages_add_up(device: Device) -> None:
    found = estimate(settings(), device)
    stages = found.stage_seconds
    assert stages.pop("teacher") == stages.pop("bounds") == stages.pop("validation") == 0, "there are none"
    assert list(stages) == ["data", "experts", "classifier_experts", "initialize", "baselines", "distill", "evaluate"]
    assert min(stages.values()) > 0
    assert found.total_seconds == pytest.approx(sum(stages.values()))
    assert found.compression_ratio == pytest.approx(TRAIN / 100)


def test_an_estimate_counts_the_steps_of_each_stage() -> None:
    run = settings(
        experts={"num_experts": 3, "epochs": 21, "batch_size": 256},
        classifier_experts={"epochs": 2, "batch_size": 256},
        matching={"iterations": 1000, "syn_steps": 7, "syn_steps_cls": 5, "batch_syn": 40},
        evaluate={"every": 250, "check_repeats": 2, "repeats": 3, "epochs": 11, "batch_size": 64},
    )
    gsam = counted("train", run).experts_seconds / LAYERS
    assert gsam == 2 * 3 * 21 * -(-TRAIN // 256)
    assert counted("classifier", run).classifier_experts_seconds / LAYERS == 3 * 2 * -(-50_000 // 256)
    assert counted("student", run).matching_seconds / LAYERS == 7000
    assert counted("head", run).matching_seconds / LAYERS == 5000
    networks = counted("evaluate", run)
    assert networks.baselines_seconds / LAYERS == pytest.approx(2 * 3 * 11 * 2)
    # Checks at 0, 250, 500, 750 and 1000; the best is one of the three in between three times in five.
    assert networks.evaluation_seconds / LAYERS == pytest.approx((5 * 2 + 3 * 1.6) * 11 * 2)
    tested = counted("test", run)
    assert tested.experts_seconds / LAYERS == 3 * 200
    assert tested.initialize_seconds / LAYERS == -(-TRAIN // 50) + 3 * 2


def test_an_estimate_of_recovery_counts_crops_statistics_steps_and_labels() -> None:
    run = settings(
        method="rldd",
        teacher={"kind": "balanced_softmax", "networks": 2},
        initialize={"images": "crops", "crop_images": 100, "crops": 3, "labels": "teacher"},
        matching={"iterations": 10},
        recovery={"batch_size": 40},
    )
    assert counted("train", run).matching_seconds / LAYERS == STATISTICS * 10 * 3
    tested = counted("test", run)
    assert tested.matching_seconds / LAYERS == 2 * (STATISTICS * -(-TRAIN // 50) + 10 * 2)
    crops = 3 * (8 * 100 + 83 + 50)
    assert tested.initialize_seconds / LAYERS == 2 * -(-crops // 50)
    low, high = (settings(method="rldd", ipc=100, recovery={"batch_size": batch}) for batch in (100, 1000))
    assert estimate(low, TWO_CORES).memory_gib < estimate(high, TWO_CORES).memory_gib


@pytest.mark.parametrize(
    ("images", "passes"), [("real", 0), ("k-center", 1), ("herding", 1), ("confident", 3), ("graph-cut", 4)]
)
def test_a_selection_looks_at_all_images_with_the_networks_that_it_needs(images: str, passes: int) -> None:
    experts = {"num_experts": 3}
    start = settings(initialize={"images": images, "labels": "class"}, experts=experts)
    method = settings(method="random" if images == "real" else images, experts=experts)
    for run in (start, method):
        assert counted("test", run).initialize_seconds / LAYERS == passes * -(-TRAIN // 50)


@pytest.mark.parametrize(("step", "passes"), [("evaluate", 1), ("classifier", 3)])
def test_online_labels_cost_their_own_epochs_and_a_pass_of_each_network_of_the_teacher(
    step: StepKind, passes: int
) -> None:
    """Of random images: two baselines, and no set beside the start; batches of 25 from 100 images."""
    teacher = {"kind": "balanced_softmax", "networks": 3}
    labels = {"labels": ["stored", "online"], "repeats": 2, "epochs": 10, "batch_size": 100}
    run = settings(method="random", evaluate=labels, online={"epochs": 7}, teacher=teacher)
    stored = 10 if step == "evaluate" else 0
    assert counted(step, run).baselines_seconds == 2 * 2 * LAYERS * (stored + passes * 7 * 4)


def test_a_student_step_costs_as_much_as_a_batch_of_mean_size() -> None:
    # 100 images in batches of 40, 40 and 20: a third of the passes over all.
    run = settings(matching={"iterations": 1, "syn_steps": 3, "batch_syn": 40}, method="datm")
    flops = network_cost("convnet", channels=3, classes=10, image_size=32, width=128, depth=3).flops
    seconds = estimate(run, only("student", Rate(flop=1.0))).matching_seconds
    assert seconds == pytest.approx(100 * flops)


def test_published_and_exact_gradients_have_rates_of_their_own() -> None:
    for gradient, step in (("published", "student"), ("exact", "student_exact"), ("unrolled", "student_exact")):
        assert counted(step, settings(matching={"gradient": gradient})).matching_seconds > 0  # type: ignore[arg-type]
    assert counted("student", settings(matching={"gradient": "exact"})).matching_seconds == 0


def test_a_compiled_step_is_faster_where_there_is_a_compiler() -> None:
    compiled = only("student", Rate(layer=1.0), student=Rate(layer=0.125))

    def steps(device: Device, asked: str = "auto", **matching: object) -> float:
        run = settings(matching=matching, compile=asked)
        return estimate(run, device).matching_seconds / (10_000 * 80 * LAYERS)

    assert steps(compiled) == 0.125  # auto
    assert steps(compiled, "never") == 1
    assert steps(only("student", Rate(layer=1.0))) == 1, "eager without a compiler"
    exact = only("student_exact", Rate(layer=1.0), student_exact=Rate(layer=0.125))
    assert steps(exact, gradient="exact") == 0.125
    assert steps(exact, gradient="unrolled") == 1, "has no compiled form"


def test_another_precision_is_faster_in_training_and_in_matching() -> None:
    plain, low = (
        estimate(settings(experts={"precision": word}, matching={"precision": word}), CUDA)
        for word in ("float32", "bf16")
    )
    assert low.experts_seconds < 0.5 * plain.experts_seconds
    assert low.matching_seconds < 0.5 * plain.matching_seconds
    assert low.evaluation_seconds == plain.evaluation_seconds


@pytest.mark.parametrize("stage", ["experts", "evaluate"])
def test_the_setting_compile_applies_to_training_too(stage: str) -> None:
    step: StepKind = "train" if stage == "experts" else "evaluate"
    device = replace(only(step, Rate(layer=1.0), **{step: Rate(layer=0.25)}), calibrated="today")  # C++ is built
    always, never = (estimate(settings(compile=word), device).stage_seconds[stage] for word in ("always", "never"))
    assert always == pytest.approx(never / 4)


def test_torch_compiles_once_for_each_batch_size() -> None:
    layers = 6  # AlexNet's five convolutions and its classifier
    # The experts are cached and the C++ of the evaluation's ConvNet is built: only the student waits for a compiler.
    device = replace(only("compile", Rate(layer=1.0), student=Rate()), calibrated="today")

    def of(asked: str = "always", **matching: object) -> Estimate:
        matching = {"iterations": 1000, "batch_syn": 50} | matching
        run = settings(matching=matching, experts={"network": "alexnet"}, compile=asked)
        return estimate(run, device, cached=CachedExperts(100, 100))

    assert of().compile_seconds == of().matching_seconds == layers
    assert of(batch_syn=40).compile_seconds == 2 * layers
    assert of("never").compile_seconds == 0


def test_a_network_compiled_by_torch_gains_the_measured_factor() -> None:
    device = only("student", Rate(layer=1.0), student=Rate())
    faster, slower = (
        estimate(settings(compile=word, experts={"network": "alexnet"}), device).matching_seconds
        for word in ("always", "never")
    )
    assert faster == pytest.approx(COMPILED_BY_TORCH["student"] * slower)


def test_cpp_is_built_once_where_no_calibration_has_built_it() -> None:
    rough = estimate(settings(), TWO_CORES)
    assert 0 < rough.compile_seconds < 10
    assert estimate(settings(), replace(TWO_CORES, calibrated="today")).compile_seconds == 0
    cached = estimate(settings(), TWO_CORES, cached=CachedExperts(100, 100))
    assert cached.experts_seconds == 0 and cached.compile_seconds == rough.compile_seconds


def test_stages_that_a_method_leaves_out_take_no_time() -> None:
    full, datm = estimate(settings(), CUDA), estimate(settings(method="datm"), CUDA)
    assert datm.classifier_experts_seconds == 0
    assert datm.matching_seconds < full.matching_seconds
    selected = estimate(settings(method="random"), CUDA)
    assert selected.experts_seconds == selected.matching_seconds == selected.evaluation_seconds == 0
    assert selected.baselines_seconds > 0


def test_cached_experts_take_disk_but_no_time() -> None:
    run = settings(compile="never")  # compiling takes as long for one expert as for all
    full = estimate(run, CUDA)
    half = estimate(run, CUDA, cached=CachedExperts(50, 100))
    assert half.experts_seconds == pytest.approx(full.experts_seconds / 2)
    assert half.classifier_experts_seconds == 0
    assert half.matching_seconds == full.matching_seconds
    assert half.disk_gib == full.disk_gib


def test_only_files_are_decoded_and_only_zca_is_fitted() -> None:
    folder = settings(dataset={"name": "folder", "resolution": 32})
    decoded = estimate(folder, only("decode", Rate(layer=1.0)), [30, 10], 7)
    assert decoded.data_seconds == 47
    plain = settings(dataset={"name": "cifar10", "whitening": "none"})
    linear_algebra = only("covariance", Rate(flop=1.0))
    assert estimate(plain, linear_algebra).data_seconds == pytest.approx(0.8)
    # Fewer images than pixels: the smaller matrix of their inner products.
    few = estimate(folder, linear_algebra, [30, 10], 7).data_seconds
    assert few == 2 * 3072 * 40**2


def test_a_tiny_network_still_costs_its_launches() -> None:
    tiny = settings(dataset={"name": "digits"}, experts={"width": 1, "depth": 1, "num_experts": 1, "epochs": 22})
    assert estimate(tiny, TWO_CORES).matching_seconds > 10


def test_memory_grows_with_saved_activations() -> None:
    base = estimate(settings(), CUDA).memory_gib
    assert estimate(settings(matching={"gradient": "unrolled"}), CUDA).memory_gib > 4 * base
    wide = estimate(settings(experts={"width": 256, "batch_size": 1024}), CUDA).memory_gib
    assert wide > base + 1 and wide > 1024 * 3 * 256 * 1024 * 4 / 2**30, "what the first block alone keeps"
    assert estimate(settings(), replace(CUDA, runtime_gib=CUDA.runtime_gib + 1)).memory_gib == pytest.approx(base + 1)


def test_only_epochs_that_matching_reads_take_disk() -> None:
    few = settings(
        dataset={"name": "cifar10", "imbalance_factor": 100, "whitening": "none"},
        experts={"num_experts": 1},
        matching={"max_start_epoch": 5, "iterations": 1},
        method="datm",
        ipc=1,
    )
    # Epochs 0 to 6 and the last, of 320,010 parameters; the rest of the run folder is less than 2 MiB.
    experts = 8 * 320_010 * 4 / 2**30
    assert experts < estimate(few, CUDA).disk_gib < experts + 2 / 1024


def test_an_estimate_of_a_folder_needs_class_counts_and_image_size() -> None:
    folder = settings(dataset={"name": "folder", "resolution": 32})
    with pytest.raises(InputError, match="files alone"):
        estimate(folder, CUDA)
    assert estimate(folder, CUDA, [30, 10]).compression_ratio == 2
    with pytest.raises(InputError, match="side"):
        estimate(settings(dataset={"name": "folder"}), CUDA, [30, 10])


def test_a_rate_is_linear_in_its_work() -> None:
    rate, work = Rate(1.0, 0.1, 0.01), Work(2, 30, 400)
    assert rate.seconds(work) == 2 + 3 + 4
    assert Rate(2.0, 0.2, 0.02).seconds(Work(6, 90, 1200)) == pytest.approx(54)


@pytest.mark.parametrize("step", ["iteration-bf16", "expert_epoch-bf16"])
def test_bfloat16_on_a_cpu_is_as_much_faster_as_was_measured(step: str) -> None:
    written = json.loads((Path(__file__).parents[3] / "benchmarks" / "results" / f"{step}.json").read_text())
    seconds = {form: statistics.median(own) for form, own in written["seconds"].items()}
    assert TWO_CORES.faster("bf16") == pytest.approx(seconds["float32"] / seconds["bf16"], rel=0.05)


def test_judging_by_validation_images_is_estimated() -> None:
    recipe = {"epochs": 11, "batch_size": 64, "every": 500, "check_from": 0, "repeats": 4}
    validation = {"share": 0.1, "networks": 2}

    def networks(own: RunSettings) -> tuple[float, float]:
        found = counted("evaluate", own)
        return tuple(seconds / LAYERS / (11 * 2) for seconds in (found.validation_seconds, found.evaluation_seconds))

    own = settings(validation=validation, evaluate=recipe, matching={"iterations": 1000})
    assert networks(own) == pytest.approx(((1 + 3) * 2, 3 + 2 + 4)), "three checks, the best one anew, the final set"
    herded = {"images": "herding", "labels": "teacher"}
    assert networks(own.model_copy(update={"initialize": own.initialize.model_copy(update=herded)}))[0] == 3 * 2
    judged = [counted("evaluate", own, class_counts=[400, tail]).validation_seconds for tail in (18, 17)]
    assert judged[0] == pytest.approx(4 * judged[1]), "a class of fewer than 20 spares none: no other start is tried"
