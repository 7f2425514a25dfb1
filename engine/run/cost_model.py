"""The cost model of a run: seconds by stage, then memory and disk in bytes.

Each stage is a number of steps of one kind and size; the device's rates turn a step into seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run import compile_policy
from engine.run.data_settings import WITHOUT_ZCA
from engine.run.datasets import FROM_FILES
from engine.run.device_profiles import Device, StepKind
from engine.run.expert_cache import NONE_CACHED, CachedExperts, classifier_epochs, representation_epochs
from engine.run.network_cost import (
    SAVED_ACTIVATIONS_BYTES,
    TEST_IMAGES_AT_ONCE,
    NetworkCost,
    Work,
    images_that_fit,
    network_cost,
)
from engine.run.settings import LabelRegime, NetworkName, RunSettings

# Importing scikit-learn or torchvision, and reading their one file.
LIBRARY_SECONDS = 0.8
# Compiling a training step takes this share of compiling a student step.
TRAINING_SHARE = 0.3


def _batch_sizes(images: int, batch_size: int) -> int:
    """How many different batch sizes an epoch has, each compiled on its own: the last batch may be smaller."""
    return 1 if images <= batch_size or images % batch_size == 0 else 2


@dataclass(frozen=True)
class Workload:
    """One run on one device; counts are train images of each class, images are (channels, image_size, image_size).

    cached: experts and networks of the teacher that need no training.
    """

    settings: RunSettings
    device: Device
    counts: Sequence[int]
    channels: int
    image_size: int
    test_images: int
    cached: CachedExperts = NONE_CACHED

    @property
    def synthetic(self) -> int:
        """Stored images of the synthetic set."""
        return self.settings.ipc * len(self.counts)

    @property
    def decoded(self) -> int:
        """Images that networks see of the synthetic set: its mini-images, where it is partitioned."""
        return self.settings.images_per_class * len(self.counts)

    @property
    def from_files(self) -> bool:
        """Whether each image is a file, which has to be decoded."""
        return self.settings.dataset.name in FROM_FILES

    @property
    def pixels(self) -> int:
        """Values of an image: channels * height * width."""
        return self.channels * self.image_size**2

    @property
    def directions(self) -> int:
        """Eigenvectors of the whitening: one per pixel, or per train image where those are fewer."""
        return 0 if self.settings.dataset.whitening in WITHOUT_ZCA else min(self.pixels, sum(self.counts))

    def cost(self, network: NetworkName) -> NetworkCost:
        """The cost of a network of these settings on these images."""
        width, depth = self.settings.experts.width, self.settings.experts.depth
        shape = {"channels": self.channels, "classes": len(self.counts), "image_size": self.image_size}
        return network_cost(network, **shape, width=width, depth=depth)

    @property
    def expert_cost(self) -> NetworkCost:
        """The cost of the network of experts and students."""
        return self.cost(self.settings.experts.network)

    def data_seconds(self) -> float:
        """Reading the images and whitening them."""
        train, total = sum(self.counts), sum(self.counts) + self.test_images
        reading = self.device.seconds("decode", Work(layers=total)) if self.from_files else LIBRARY_SECONDS
        wide, narrow = max(train, self.pixels), self.directions
        fitting = self.device.seconds("covariance", Work(flops=2.0 * wide * narrow**2))
        fitting += self.device.seconds("eigen", Work(flops=float(narrow) ** 3))
        return reading + fitting + self._whitening(total)

    def experts_seconds(self) -> float:
        """Training and testing the representation experts."""
        experts, left = self.settings.experts, self.settings.experts.num_experts - self.cached.representation
        if not left:
            return 0.0
        gradients = 2 if experts.optimizer == "gsam" else 1
        images, compiled = sum(self.counts), self.should_compile_experts
        epoch = gradients * self._epoch("train", experts.network, images, experts.batch_size, compiled)
        training = experts.epochs * epoch / self.device.faster(experts.precision)
        return left * (training + self._test(experts.network, self.test_images))

    def classifier_experts_seconds(self) -> float:
        """Training and testing the classifier experts, in epochs of max n_c * C draws."""
        experts, classifier = self.settings.experts, self.settings.classifier_experts
        draws = max(self.counts) * len(self.counts)
        epoch = self._epoch("classifier", experts.network, draws, classifier.batch_size, self.should_compile_experts)
        left = experts.num_experts - self.cached.classifier
        return left * (classifier.epochs * epoch + self._test(experts.network, self.test_images))

    def teacher_seconds(self) -> float:
        """Training the teacher's networks, unless they are the classifier experts, and testing their mean logits."""
        teacher, network = self.settings.teacher, self.settings.experts.network
        testing = self.settings.teacher_networks * self._test(network, self.test_images)
        if not self.settings.trains_teacher:
            return testing
        # GLMC sees two views of every batch.
        training = self._by_teachers_recipe(network, teacher.epochs, 2 if teacher.kind == "glmc" else 1)
        return testing + (teacher.networks - self.cached.teacher) * training

    def bounds_seconds(self) -> float:
        """Training networks on all long-tailed images, as bounds."""
        bounds, network = self.settings.bounds, self.settings.evaluate.arch[0]
        return len(bounds.losses) * bounds.networks * self._by_teachers_recipe(network, bounds.epochs)

    def _by_teachers_recipe(self, network: NetworkName, epochs: int, views: int = 1) -> float:
        """One network that is trained on all images and tested."""
        recipe, images = self.settings.teacher, sum(self.counts)
        compiled = self._should_compile_teacher(network, epochs)
        epoch = self._epoch("train", network, views * images, views * recipe.batch_size, compiled)
        return epochs * epoch / self.device.faster(recipe.precision) + self._test(network, self.test_images)

    def initialize_seconds(self) -> float:
        """One expert, or the teacher, sees all train images, and every expert the chosen ones."""
        network, start, images = self.settings.experts.network, self.settings.initialize, self.settings.starting_images
        by_experts = self.settings.teacher.kind == "classifier_experts"
        teachers = self.settings.experts.num_experts if by_experts else self.settings.teacher.networks
        # The teacher gives the features of one network, or the logits of all.
        passes = {"real": 0, "noise": 0, "confident": teachers, "graph-cut": 1 + teachers}.get(images, 1)
        judging = passes * self._test(network, sum(self.counts))
        labels = start.labels == "experts" and self.settings.traits.learns_labels
        labelling = self.settings.experts.num_experts * self._test(network, self.decoded) if labels else 0.0
        return judging + labelling

    def baselines_seconds(self) -> float:
        """Evaluating random images and the initialization, in each label regime."""
        recipe = self.settings.evaluate
        return 2 * recipe.repeats * sum(self._network(recipe.arch[0], regime) for regime in recipe.labels)

    def matching_seconds(self) -> float:
        """All outer iterations with their previews."""
        matching, method = self.settings.matching, self.settings.traits
        step: StepKind = "student" if matching.gradient == "published" else "student_exact"
        iteration = matching.syn_steps * self._student(step)
        if method.decoupled:
            iteration += matching.syn_steps_cls * self._student("head")
        if method.matches_distributions:
            iteration = self._distribution_seconds()
        whitening = self._whitening(self.synthetic)
        if self.settings.initialize.partition > 1:
            # Decoding, and its adjoint, take as long as whitening the stored images and turning them back.
            iteration += 2 * whitening
        return matching.iterations * iteration + (1 + matching.iterations / matching.preview_every) * whitening

    def _distribution_seconds(self) -> float:
        """The real images forward, the synthetic ones forward and back, and the queue's networks trained (idm)."""
        own, network = self.settings.distribution, self.settings.experts.network
        real = sum(min(count, own.real_batch) for count in self.counts)
        # A forward pass is about a third of a training step.
        seconds = self._epoch("train", network, self.decoded + real // 3, 50, self.should_compile_student)
        if self.settings.traits.trains_networks:
            trained = own.trained_networks * own.training_steps * own.training_batch
            seconds += self._epoch("train", network, trained, own.training_batch, self.should_compile_student)
        return seconds / self.device.faster(self.settings.matching.precision)

    def evaluation_seconds(self) -> float:
        """Checks on the way, then final and best, and final on the other networks and in the other label regimes."""
        recipe = self.settings.evaluate
        arch, *further_archs = recipe.arch
        regime, *further_regimes = recipe.labels
        first, others = self._network(arch, regime), sum(self._network(other, regime) for other in further_archs)
        if not self.settings.traits.distills:
            return recipe.repeats * others
        # The best check has networks of its own unless it is the first or the last one, which are evaluated anyway.
        apart = 1 - (2 if recipe.check_from == 0 else 1) / self.settings.checks
        others += sum(self._network(arch, other) for other in further_regimes)
        return self.check_seconds() + recipe.repeats * ((1 + apart) * first + others)

    def check_seconds(self) -> float:
        """Checks of the set while it is distilled."""
        recipe = self.settings.evaluate
        return self.settings.checks * recipe.check_repeats * self._network(recipe.arch[0], recipe.labels[0])

    @property
    def should_compile_student(self) -> bool:
        """Whether the student's steps are compiled, on a device that has a compiler."""
        return compile_policy.should_compile_student(self.settings, self.expert_cost, self.device.kind)

    @property
    def should_compile_experts(self) -> bool:
        """Whether the experts' training is compiled, on a device that has a compiler."""
        images, kind = sum(self.counts), self.device.kind
        return compile_policy.should_compile_experts(self.settings, self.expert_cost, images, kind)

    def _should_compile_teacher(self, network: NetworkName, epochs: int) -> bool:
        images, kind, cost = sum(self.counts), self.device.kind, self.cost(network)
        pays = compile_policy.compiling_teacher_pays(self.settings, network, cost, epochs, images, kind)
        return compile_policy.compile_or_not(self.settings.compile, pays)

    def _should_compile_evaluation(self, network: NetworkName, regime: LabelRegime) -> bool:
        cost, kind = self.cost(network), self.device.kind
        return compile_policy.should_compile_evaluation(self.settings, network, cost, kind, regime)

    def compile_seconds(self) -> dict[str, float]:
        """Compile time by the stage that waits for it: torch compiles each batch size, C++ is built once for all."""
        experts, arch, regime = self.settings.experts, self.settings.evaluate.arch[0], self.settings.evaluate.labels[0]
        batch_syn = self.settings.matching.batch_syn
        images, teacher = sum(self.counts), self.settings.teacher
        experts_compiled = self.should_compile_experts and self.cached.representation < experts.num_experts
        teacher_compiled = self._should_compile_teacher(experts.network, teacher.epochs)
        shares = {
            "experts": (
                experts.network,
                experts_compiled and self.settings.trains_experts,
                TRAINING_SHARE * _batch_sizes(images, experts.batch_size),
            ),
            "teacher": (
                experts.network,
                teacher_compiled and self.settings.trains_teacher and self.cached.teacher < teacher.networks,
                TRAINING_SHARE * _batch_sizes(images, teacher.batch_size),
            ),
            "baselines": (arch, self._should_compile_evaluation(arch, regime), TRAINING_SHARE),
            "distill": (experts.network, self.should_compile_student, _batch_sizes(self.decoded, batch_syn)),
        }
        seconds, built = dict.fromkeys(shares, 0.0), bool(self.device.calibrated)
        for stage, (network, compiled, share) in shares.items():
            if not compiled or not self.device.compiled_rates:
                continue
            if compile_policy.compiled_backend(network, self.device.kind) == "torch":
                seconds[stage] = share * self.device.seconds("compile", Work(layers=self.cost(network).work(1).layers))
            # A calibration has built the C++ file already, and the library stays in the cache.
            elif not built:
                seconds[stage], built = compile_policy.BUILD_SECONDS, True
        return seconds

    def _student(self, step: StepKind) -> float:
        """One student step, as the mean over an epoch: its last batch may be smaller."""
        network = self.settings.experts.network
        batch = self.decoded / math.ceil(self.decoded / self.settings.matching.batch_syn)
        # The unrolled gradient has no compiled form.
        compiled = self.should_compile_student and self.settings.matching.gradient != "unrolled"
        seconds = self.device.seconds(step, self.cost(network).work(batch), network, compiled)
        return seconds / self.device.faster(self.settings.matching.precision)

    def _epoch(
        self, step: StepKind, network: NetworkName, images: int, batch_size: int, compiled: bool = False
    ) -> float:
        steps = math.ceil(images / batch_size)
        return steps * self.device.seconds(step, self.cost(network).work(images / steps), network, compiled)

    def _test(self, network: NetworkName, images: int) -> float:
        return self._epoch("test", network, images, TEST_IMAGES_AT_ONCE[self.device.kind])

    def _network(self, network: NetworkName, regime: LabelRegime) -> float:
        """One network of an evaluation, trained and tested; in the online regime the teacher labels each batch."""
        recipe, compiled = self.settings.recipe(regime), self._should_compile_evaluation(network, regime)
        epoch = self._epoch("evaluate", network, self.decoded, recipe.batch_size, compiled)
        if regime == "online":
            # As where classifier experts are trained: nearly all of such a step is the forward pass of the backbone.
            own = self.settings.experts.network
            compiled = self._should_compile_evaluation(own, regime)
            labelling = self._epoch("classifier", own, self.decoded, recipe.batch_size, compiled)
            epoch += self.settings.teacher_networks * labelling
        return recipe.epochs * epoch + self._test(network, self.test_images)

    def _whitening(self, images: int) -> float:
        """Whitening images, or turning them back into pixels."""
        return self.device.seconds("whiten", Work(flops=4.0 * images * self.pixels * self.directions))


# Memory at its peak, and disk, in bytes.

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
    resident = _images(work) + (_snapshots(work) if kind == "cpu" else 0.0)
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
    return folder + _snapshots(work)


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


def _snapshots(work: Workload) -> float:
    """Weights of every expert: epochs 0 to the last that is read, and the end; of classifier experts the classifier.

    Of the teacher's networks the end.
    """
    settings, numbers = work.settings, 0
    backbone, classifier = work.expert_cost.parameters
    if settings.trains_experts:
        numbers += (representation_epochs(settings) + 2) * (backbone + classifier)
    if settings.trains_classifier_experts:
        numbers += (classifier_epochs(settings) + 2) * classifier
    size = HALF_BYTES if settings.experts.storage == "float16" else FLOAT_BYTES
    of_teacher = settings.teacher.networks * (backbone + classifier) if settings.trains_teacher else 0
    return float(settings.experts.num_experts * numbers * size + of_teacher * FLOAT_BYTES)
