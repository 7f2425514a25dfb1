"""What a run takes besides time, in bytes: memory at its peak, and disk."""

from __future__ import annotations

from engine.run.costs import TEST_IMAGES_AT_ONCE
from engine.run.expert_cache import classifier_epochs, representation_epochs
from engine.run.workload import Workload
from engine.run.worth import network_in_cpp

HALF_BYTES, FLOAT_BYTES, DOUBLE_BYTES = 2, 4, 8
# In activations of the images in work, as measured: a training step, and a student step on its way back.
TRAINING, TRAINING_COMPILED = 2.1, 1.15
STUDENT, STUDENT_COMPILED = 4.5, 1.6
# The same of what a compiled student step leaves for the way back, as long as there is room.
TAPE = 0.73
# Of the outputs of convolutions, which are a third of the activations, in work at once unless the settings say so.
WORKING_BYTES, COPIES = 1.5 * 2**30, 5
# What torch takes to compile, and scikit-learn or torchvision to be there.
COMPILER_BYTES, LIBRARY_BYTES = 250 * 2**20, 70 * 2**20
# A file takes whole blocks, a line of events about this much.
BLOCK_BYTES, LINE_BYTES = 4096, 160


def memory_bytes(work: Workload) -> float:
    """Peak of the device without torch itself: what stays, and the largest single step of any stage."""
    resident = _images(work) + (_snapshots(work) if work.device.holds_experts else 0.0)
    library = LIBRARY_BYTES if work.device.kind == "cpu" and not work.from_files else 0.0
    kind, network = work.device.kind, work.settings.experts.network
    by_torch = work.student_compiles and kind == "cpu" and not network_in_cpp(network, kind)
    compiler = COMPILER_BYTES if by_torch else 0.0
    later = resident + _basis(work) + compiler + max(_training(work), _testing(work), _matching(work))
    return library + max(_loading(work), later)


def disk_bytes(work: Workload) -> float:
    """Experts in the cache, and the run folder: the set at each check and checkpoint, pictures, figures and events."""
    matching, recipe = work.settings.matching, work.settings.evaluate
    one_set = work.synthetic * (work.pixels + len(work.counts)) * FLOAT_BYTES
    previews = 1 + matching.iterations // matching.preview_every if work.settings.traits.distills else 0
    networks = (2 + 2 + len(recipe.arch) - 1) * recipe.repeats + work.checks * recipe.check_repeats
    files = networks + 2 * previews + work.checks + 12
    pictures = previews * work.synthetic * (work.pixels + 8 * len(work.counts))
    lines = matching.iterations + work.settings.experts.num_experts * work.settings.experts.epochs
    basis = work.pixels * work.directions * FLOAT_BYTES
    folder = (work.checks + 5) * one_set + pictures + basis + lines * LINE_BYTES + files * BLOCK_BYTES / 2
    return folder + _snapshots(work)


def _images(work: Workload) -> float:
    return float((sum(work.counts) + work.test_images) * work.pixels * FLOAT_BYTES)


def _basis(work: Workload) -> float:
    return float(work.pixels * work.directions * DOUBLE_BYTES)


def _loading(work: Workload) -> float:
    """As bytes, as numbers and whitened; three more copies of the train images on the way there."""
    train, raw = float(sum(work.counts) * work.pixels * FLOAT_BYTES), _images(work) / FLOAT_BYTES
    if not work.directions:
        return raw + 2 * _images(work)
    eigenvectors = 5 * _basis(work)
    whitening = 1.5 * _basis(work) + 3 * max(train, _images(work) - train)
    return raw + _images(work) + max(eigenvectors, whitening + (train if train < _images(work) / 2 else 0.0))


def _training(work: Workload) -> float:
    factor = TRAINING_COMPILED if work.experts_compile else TRAINING
    kept = work.cost(work.settings.experts.network).activations * FLOAT_BYTES * factor
    batches = (work.settings.experts.batch_size, sum(work.counts)), (work.settings.evaluate.batch_size, work.synthetic)
    return max(min(batch, images) for batch, images in batches) * kept


def _testing(work: Workload) -> float:
    """The widest layer's input, output and one in between."""
    layers = work.cost(work.settings.experts.network).convolutions
    widest = max(layer.outputs * layer.side**2 for layer in layers)
    return float(3 * min(TEST_IMAGES_AT_ONCE[work.device.kind], work.test_images) * widest * FLOAT_BYTES)


def _matching(work: Workload) -> float:
    matching, method = work.settings.matching, work.settings.traits
    if not method.distills:
        return 0.0
    cost, batch = work.cost(work.settings.experts.network), min(work.synthetic, matching.batch_syn)
    path = 2 * matching.syn_steps * sum(cost.parameters)  # weights and gradients of the walk
    features = 3 * matching.syn_steps_cls * batch * cost.features if method.decoupled else 0
    around = FLOAT_BYTES * (path + features)
    image = FLOAT_BYTES * cost.activations
    if matching.gradient == "unrolled":
        return around + STUDENT * matching.syn_steps * batch * image
    asked, fitting = matching.images_at_once, WORKING_BYTES / (COPIES * image / 3)
    at_once = min(batch, fitting if asked == "auto" else asked)
    if not work.student_compiles:
        return around + STUDENT * at_once * image
    # A batch in parts keeps nothing of its steps.
    tapes = matching.syn_steps * TAPE * batch * image if at_once == batch else 0.0
    return around + STUDENT_COMPILED * at_once * image + min(tapes, matching.keep_gib * 2**30)


def _snapshots(work: Workload) -> float:
    """Epochs 0 to the last that is read, and the end, of every expert; of classifier experts the classifier."""
    settings, method = work.settings, work.settings.traits
    if not method.distills:
        return 0.0
    backbone, classifier = work.cost(settings.experts.network).parameters
    numbers = (representation_epochs(settings) + 2) * (backbone + classifier)
    if method.decoupled:
        numbers += (classifier_epochs(settings) + 2) * classifier
    size = HALF_BYTES if settings.experts.storage == "float16" else FLOAT_BYTES
    return float(settings.experts.num_experts * numbers * size)
