"""The cost model of a run: seconds by stage.

Each stage is a number of steps of one kind and size; the device's rates turn a step into seconds. Memory and disk are
in memory_model.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run import compile_policy
from engine.run.data_settings import WITHOUT_ZCA
from engine.run.datasets import FROM_FILES
from engine.run.device_profiles import Device, StepKind
from engine.run.expert_cache import NONE_CACHED, CachedExperts
from engine.run.network_cost import (
    TEST_IMAGES_AT_ONCE,
    NetworkCost,
    Work,
    network_cost,
)
from engine.run.settings import LabelRegime, NetworkName, RunSettings, StartingImages

# Importing scikit-learn or torchvision, and reading their one file.
LIBRARY_SECONDS = 0.8
# What the statistics of recovery add to a pass, as measured.
STATISTICS = 2.0
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
        """Choosing the first images, and every expert labels them where experts do."""
        labels = self.settings.initialize.labels == "experts" and self.settings.traits.learns_labels
        labelling = self.settings.experts.num_experts * self._test(self.settings.experts.network, self.decoded)
        return self._start_seconds(self.settings.starting_images) + (labelling if labels else 0.0)

    def _start_seconds(self, images: StartingImages) -> float:
        """One expert, or the teacher, sees all train images, of which those to start from are chosen."""
        settings, teachers = self.settings, self.settings.teacher_networks
        network, start = settings.experts.network, settings.initialize
        if images == "crops":
            of_class = max(start.crop_images, settings.ipc)
            cropped = sum(min(count, of_class) for count in self.counts)
            scoring = teachers * self._test(network, start.crops * cropped)
            return self._whitening((1 + start.crops) * cropped) + scoring
        # The teacher gives the features of one network, or the logits of all.
        passes = {"real": 0, "noise": 0, "confident": teachers, "graph-cut": 1 + teachers}.get(images, 1)
        return passes * self._test(network, sum(self.counts))

    def baselines_seconds(self) -> float:
        """Evaluating random images and the initialization, in each label regime."""
        recipe = self.settings.evaluate
        return 2 * recipe.repeats * sum(self._network(recipe.arch[0], regime) for regime in recipe.labels)

    def validation_seconds(self) -> float:
        """Making and judging the starts that are tried, by validation images."""
        settings = self.settings
        if not self._chooses:
            return 0.0
        own = (settings.starting_images, settings.initialize.labels)
        labels = "teacher" if settings.traits.learns_labels else settings.initialize.labels
        rules: list[StartingImages] = ["real" if rule == "random" else rule for rule in settings.validation.candidates]
        # Where a class could spare no images, no other start is tried.
        fewest_left = settings.validation.smallest - sum(settings.validation.spared([settings.validation.smallest]))
        tries = settings.tries_starts and min(self.counts) >= fewest_left
        tried = [rule for rule in rules if (rule, labels) != own] if tries else []
        judging = (1 + len(tried)) * settings.validation.networks * self._first_network
        return judging + sum(map(self._start_seconds, tried))

    def selections_seconds(self) -> float:
        """Making and evaluating plain selections of whole images, beside the baselines, where the start is chosen."""
        settings = self.settings
        rules = [rule for rule in settings.validation.candidates if rule != "random"] if settings.tries_starts else []
        network = self._first_network / settings.initialize.partition**2
        return len(rules) * settings.evaluate.repeats * network + sum(map(self._start_seconds, rules))

    @property
    def _chooses(self) -> bool:
        """Whether the start and the set of the end are chosen by validation images."""
        return bool(self.settings.validation.share and self.settings.traits.distills)

    @property
    def _first_network(self) -> float:
        """One network of an evaluation, as the run has most of them."""
        recipe = self.settings.evaluate
        return self._network(recipe.arch[0], recipe.labels[0])

    def matching_seconds(self) -> float:
        """All outer iterations with their previews."""
        matching, method = self.settings.matching, self.settings.traits
        step: StepKind = "student" if matching.gradient == "published" else "student_exact"
        iteration = matching.syn_steps * self._student(step)
        if method.decoupled:
            iteration += matching.syn_steps_cls * self._student("head")
        iteration *= self.settings.trajectories
        if method.matches_distributions:
            iteration = self._distribution_seconds()
        once = 0.0
        if method.synthesis == "recovery":
            once, iteration = self._recovery_seconds()
        whitening = self._whitening(self.synthetic)
        if self.settings.initialize.partition > 1:
            # Decoding, and its adjoint, take as long as whitening the stored images and turning them back.
            iteration += 2 * whitening
        return once + matching.iterations * iteration + (1 + matching.iterations / matching.preview_every) * whitening

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

    def _recovery_seconds(self) -> tuple[float, float]:
        """The statistics of the real images, and an iteration, with the teacher's labels at its end."""
        network, networks = self.settings.experts.network, self.settings.teacher_networks
        targets = STATISTICS * networks * self._test(network, sum(self.counts))
        step = STATISTICS * self._epoch("train", network, self.synthetic, self.settings.recovery.batch_size)
        labels = networks * self._test(network, self.synthetic)
        # There and back within the step, then the new images.
        return targets, step + labels + 3 * self._whitening(self.synthetic)

    def evaluation_seconds(self) -> float:
        """Checks on the way, then final and best, and final on the other networks and in the other label regimes."""
        recipe = self.settings.evaluate
        arch, *further_archs = recipe.arch
        regime, *further_regimes = recipe.labels
        first, others = self._network(arch, regime), sum(self._network(other, regime) for other in further_archs)
        if not self.settings.traits.distills:
            return recipe.repeats * others
        others += sum(self._network(arch, other) for other in further_regimes)
        if self._chooses:
            # The best check is judged once more, and is the final set or none.
            return self.check_seconds() + self.settings.validation.networks * first + recipe.repeats * (first + others)
        # The best check has networks of its own unless it is the first or the last one, which are evaluated anyway.
        apart = 1 - (2 if recipe.check_from == 0 else 1) / self.settings.checks
        return self.check_seconds() + recipe.repeats * ((1 + apart) * first + others)

    def check_seconds(self) -> float:
        """Checks of the set while it is distilled."""
        return self.settings.checks * self.settings.evaluate.check_repeats * self._first_network

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
        training = recipe.epochs * epoch / self.device.faster(self.settings.evaluate.precision)
        return training + self._test(network, self.test_images)

    def _whitening(self, images: int) -> float:
        """Whitening images, or turning them back into pixels."""
        return self.device.seconds("whiten", Work(flops=4.0 * images * self.pixels * self.directions))
