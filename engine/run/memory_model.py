"""Memory of a run at its peak, and its disk, in bytes."""

from __future__ import annotations

from engine.run import compile_policy
from engine.run.cost_model import STATISTICS, Workload
from engine.run.expert_cache import NONE_CACHED, CachedExperts, classifier_epochs, representation_epochs
from engine.run.network_cost import SAVED_ACTIVATIONS_BYTES, TEST_IMAGES_AT_ONCE, images_that_fit

HALF_BYTES, FLOAT_BYTES, DOUBLE_BYTES = 2, 4, 8
# Peak memory as measured, in activations of the images in work: a training step, and pass 2 of a student step.
TRAINING, TRAINING_COMPILED = 2.1, 1.15
STUDENT, STUDENT_COMPILED = 4.5, 1.6
# The same of what a compiled student step saves for pass 2, up to SAVED_ACTIVATIONS_BYTES.
SAVED = 0.73
# Memory of torch's compiler, and of scikit-learn or torchvision.
COMPILER_BYTES, LIBRARY_BYTES = 250 * 2**20, 70 * 2**20
# A file takes whole blocks of a disk; a line of events.jsonl is about this long.
BLOCK_BYTES, LINE_BYTES = 4096, 160


def memory_bytes(work: Workload) -> float:
    """Peak memory of the device without torch itself: what stays, and the largest single step of any stage."""
    kind, network = work.device.kind, work.settings.experts.network
    # On a GPU the experts stay in the computer's memory.
    resident = _images(work) + (snapshot_bytes(work) if kind == "cpu" else 0.0)
    library = LIBRARY_BYTES if kind == "cpu" and not work.from_files else 0.0
    by_torch = kind == "cpu" and compile_policy.compiled_backend(network, kind) == "torch"
    compiler = COMPILER_BYTES if by_torch and work.should_compile_student else 0.0
    later = resident + _basis(work) + compiler + max(_training(work), _testing(work), _matching(work))
    return library + max(_loading(work), later)


def disk_bytes(work: Workload) -> float:
    """Experts in the cache, and the run folder: sets at checks and checkpoints, previews, results and events."""
    matching, recipe = work.settings.matching, work.settings.evaluate
    one_set = (work.synthetic * work.pixels + work.decoded * len(work.counts)) * FLOAT_BYTES
    previews = 1 + matching.iterations // matching.preview_every if work.settings.traits.distills else 0
    # random, initialization and final in each regime, and best; final on the further networks
    evaluations = 3 * len(recipe.labels) + len(recipe.arch)
    networks = evaluations * recipe.repeats + work.settings.checks * recipe.check_repeats
    files = networks + 2 * previews + work.settings.checks + 12
    pictures = previews * work.synthetic * (work.pixels + 8 * len(work.counts))
    lines = matching.iterations + work.settings.experts.num_experts * work.settings.experts.epochs
    basis = work.pixels * work.directions * FLOAT_BYTES
    states = (work.settings.checks + 5) * one_set + 2 * _queue(work)
    folder = states + pictures + basis + lines * LINE_BYTES + files * BLOCK_BYTES / 2
    return folder + snapshot_bytes(work)


def _images(work: Workload) -> float:
    return float((sum(work.counts) + work.test_images) * work.pixels * FLOAT_BYTES)


def _basis(work: Workload) -> float:
    return float(work.pixels * work.directions * DOUBLE_BYTES)


def _loading(work: Workload) -> float:
    """The images as bytes, as floats and whitened; whitening holds three more copies of the train images."""
    train, raw = float(sum(work.counts) * work.pixels * FLOAT_BYTES), _images(work) / FLOAT_BYTES
    if not work.directions:
        return raw + 2 * _images(work)
    eigenvectors = 5 * _basis(work)
    whitening = 1.5 * _basis(work) + 3 * max(train, _images(work) - train)
    return raw + _images(work) + max(eigenvectors, whitening + (train if train < _images(work) / 2 else 0.0))


def _training(work: Workload) -> float:
    factor = TRAINING_COMPILED if work.should_compile_experts else TRAINING
    kept = work.expert_cost.activations * FLOAT_BYTES * factor
    evaluations = [work.settings.recipe(regime).batch_size for regime in work.settings.evaluate.labels]
    images, teacher = sum(work.counts), work.settings.teacher
    batches = [(work.settings.experts.batch_size, images), (max(evaluations), work.decoded)]
    if work.settings.trains_teacher:
        views = 2 if teacher.kind == "glmc" else 1
        batches.append((views * teacher.batch_size, views * images))
    return max(min(batch, images) for batch, images in batches) * kept


def _testing(work: Workload) -> float:
    """The input and output of the widest layer, and one tensor in between."""
    layers = work.expert_cost.convolutions
    widest = max(layer.outputs * layer.side**2 for layer in layers)
    return float(3 * min(TEST_IMAGES_AT_ONCE[work.device.kind], work.test_images) * widest * FLOAT_BYTES)


def _matching(work: Workload) -> float:
    matching, method = work.settings.matching, work.settings.traits
    if method.synthesis == "recovery":
        batch = min(work.synthetic, work.settings.recovery.batch_size)
        return STATISTICS * TRAINING * batch * work.expert_cost.activations * FLOAT_BYTES
    if method.matches_distributions:
        # As in a training step of all images: what each saves on the way forward is read on the way back.
        return _queue(work) + TRAINING * work.decoded * work.expert_cost.activations * FLOAT_BYTES
    if not method.matches_trajectories:
        return 0.0
    cost, batch = work.expert_cost, min(work.decoded, matching.batch_syn)
    trajectory = 2 * matching.syn_steps * sum(cost.parameters)  # weights and gradients of all student steps
    features = 3 * matching.syn_steps_cls * batch * cost.features if method.decoupled else 0
    around = FLOAT_BYTES * (trajectory + features)
    image = FLOAT_BYTES * cost.activations
    if matching.gradient == "unrolled":
        return around + STUDENT * matching.syn_steps * batch * image
    # A third of the activations are outputs of convolutions.
    asked, fitting = matching.images_at_once, images_that_fit(cost.activations / 3)
    at_once = min(batch, fitting if asked == "auto" else asked)
    if not work.should_compile_student:
        return around + STUDENT * at_once * image
    # A batch that is worked on in parts saves no activations.
    saved = matching.syn_steps * SAVED * batch * image if at_once == batch else 0.0
    return around + STUDENT_COMPILED * at_once * image + min(saved, SAVED_ACTIVATIONS_BYTES)


def _queue(work: Workload) -> float:
    """Weights and velocities of the networks that are trained on the way (idm), as many as there are at the end."""
    own, iterations = work.settings.distribution, work.settings.matching.iterations
    networks = min(own.first_networks + 1 + (iterations - 1) // own.network_every, own.most_networks)
    of_all = 2.0 * FLOAT_BYTES * networks * sum(work.expert_cost.parameters)
    return of_all if work.settings.traits.trains_networks else 0.0


def snapshot_bytes(work: Workload, without: CachedExperts = NONE_CACHED) -> float:
    """Weights of every expert: epochs 0 to the last that is read, and the end; of classifier experts the classifier.

    Of the teacher's networks the end. `without`: how many of each are not counted.
    """
    settings, numbers, count = work.settings, 0, work.settings.experts.num_experts
    backbone, classifier = work.expert_cost.parameters
    if settings.trains_experts:
        epochs = representation_epochs(settings) + 2
        numbers += (count - without.representation) * epochs * (backbone + classifier)
    if settings.trains_classifier_experts:
        numbers += (count - without.classifier) * (classifier_epochs(settings) + 2) * classifier
    size = HALF_BYTES if settings.experts.storage == "float16" else FLOAT_BYTES
    networks = settings.teacher.networks - without.teacher if settings.trains_teacher else 0
    return float(numbers * size + networks * (backbone + classifier) * FLOAT_BYTES)
