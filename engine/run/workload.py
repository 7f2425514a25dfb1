"""The work of a run as seconds, stage by stage: how many steps of which kind and size, and the device's rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.run.costs import TEST_IMAGES_AT_ONCE, NetworkCost, network_cost
from engine.run.devices import Device
from engine.run.expert_cache import NONE_CACHED, CachedExperts
from engine.run.rates import Step, Work
from engine.run.settings import NetworkName, RunSettings
from engine.run.worth import compiles_evaluation, compiles_experts, compiles_student, network_in_cpp

FROM_FILES = ("folder", "tiny-imagenet", "imagenet-lt")
# Importing scikit-learn or torchvision, and reading their one file.
LIBRARY_SECONDS = 0.8
# One C++ file, by whoever has measured nothing: measuring builds it, and it stays in the cache.
BUILD_SECONDS = 5.0
# What is compiled of training, against all that is compiled of a student.
TRAINING_SHARE = 0.3


def _sizes(images: int, batch_size: int) -> int:
    """Of how many sizes the batches of so many images are."""
    return 1 if images <= batch_size or images % batch_size == 0 else 2


@dataclass(frozen=True)
class Workload:
    """One run on one device; counts are train images of each class, images are (channels, image_size, image_size).

    cached: how many of the experts need not be trained.
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
        """Images of the synthetic set."""
        return self.settings.ipc * len(self.counts)

    @property
    def from_files(self) -> bool:
        """Whether every image is a file of its own."""
        return self.settings.dataset.name in FROM_FILES

    @property
    def pixels(self) -> int:
        """Numbers of an image."""
        return self.channels * self.image_size**2

    @property
    def directions(self) -> int:
        """Directions that whitening looks at: as many as there are pixels, or images where those are fewer."""
        return 0 if self.settings.dataset.whitening == "none" else min(self.pixels, sum(self.counts))

    @property
    def checks(self) -> int:
        """Checks on the way: the start is one, and so is the end where it is no multiple."""
        return 1 + math.ceil(self.settings.matching.iterations / self.settings.evaluate.every)

    def cost(self, network: NetworkName) -> NetworkCost:
        """What a network of these settings costs on these images."""
        experts = self.settings.experts
        return network_cost(
            network,
            channels=self.channels,
            classes=len(self.counts),
            image_size=self.image_size,
            width=experts.width,
            depth=experts.depth,
        )

    def data_seconds(self) -> float:
        """Reading the images and whitening them."""
        train, total = sum(self.counts), sum(self.counts) + self.test_images
        if self.from_files:
            reading = self._seconds("decode", Work(layers=total))
        else:
            reading = LIBRARY_SECONDS
        wide, narrow = max(train, self.pixels), self.directions
        fitting = self._seconds("covariance", Work(flops=2.0 * wide * narrow**2))
        fitting += self._seconds("eigen", Work(flops=float(narrow) ** 3))
        return reading + fitting + self._whitening(total)

    def experts_seconds(self) -> float:
        """Training and testing the representation experts."""
        experts, left = self.settings.experts, self.settings.experts.num_experts - self.cached.representation
        if not left:
            return 0.0
        gradients = 2 if experts.optimizer == "gsam" else 1
        images, compiled = sum(self.counts), self.experts_compile
        epoch = gradients * self._epoch("train", experts.network, images, experts.batch_size, compiled)
        training = experts.epochs * epoch / self.device.faster(experts.precision)
        return left * (training + self._test(experts.network, self.test_images))

    def classifier_experts_seconds(self) -> float:
        """Training and testing the classifier experts, in epochs of max n_c * C draws."""
        experts, heads = self.settings.experts, self.settings.classifier_experts
        draws = max(self.counts) * len(self.counts)
        epoch = self._epoch("classifier", experts.network, draws, heads.batch_size, self.experts_compile)
        left = experts.num_experts - self.cached.classifier
        return left * (heads.epochs * epoch + self._test(experts.network, self.test_images))

    def initialize_seconds(self) -> float:
        """One expert looks at all train images, and every expert at the chosen ones."""
        network, start = self.settings.experts.network, self.settings.initialize
        judging = self._test(network, sum(self.counts)) if start.images == "correct" else 0.0
        labels = start.labels == "experts" and self.settings.traits.learns_labels
        labelling = self.settings.experts.num_experts * self._test(network, self.synthetic) if labels else 0.0
        return judging + labelling

    def baselines_seconds(self) -> float:
        """Random images and the initialization."""
        recipe = self.settings.evaluate
        return 2 * recipe.repeats * self._network(recipe.arch[0])

    def matching_seconds(self) -> float:
        """All outer iterations with their previews."""
        matching = self.settings.matching
        step: Step = "student" if matching.gradient == "published" else "student_exact"
        iteration = matching.syn_steps * self._student(step)
        if self.settings.traits.decoupled:
            iteration += matching.syn_steps_cls * self._student("head")
        previews = 1 + matching.iterations / matching.preview_every
        return matching.iterations * iteration + previews * self._whitening(self.synthetic)

    def evaluation_seconds(self) -> float:
        """Checks on the way, then final and best, and final on the other networks."""
        recipe = self.settings.evaluate
        first, others = self._network(recipe.arch[0]), sum(map(self._network, recipe.arch[1:]))
        if not self.settings.traits.distills:
            return recipe.repeats * others
        # The best check has networks of its own unless it is the first or the last one, which are evaluated anyway.
        apart = 1 - 2 / self.checks
        return self.checks * recipe.check_repeats * first + recipe.repeats * ((1 + apart) * first + others)

    @property
    def student_compiles(self) -> bool:
        """Whether the student's steps are compiled, where there is a compiler."""
        return compiles_student(self.settings, self.cost(self.settings.experts.network), self.device.kind)

    @property
    def experts_compile(self) -> bool:
        """The same of the experts' training."""
        cost = self.cost(self.settings.experts.network)
        return compiles_experts(self.settings, cost, sum(self.counts), self.device.kind)

    def _evaluation_compiles(self, network: NetworkName) -> bool:
        return compiles_evaluation(self.settings, network, self.cost(network), self.device.kind)

    def compile_seconds(self) -> dict[str, float]:
        """Compiling, by the stage that waits for it: once for each size of batch, and C++ once for all."""
        experts, arch = self.settings.experts, self.settings.evaluate.arch[0]
        training = self.experts_compile and self.cached.representation < experts.num_experts
        shares = {
            "experts": (experts.network, training, TRAINING_SHARE * _sizes(sum(self.counts), experts.batch_size)),
            "baselines": (arch, self._evaluation_compiles(arch), TRAINING_SHARE),
            "distill": (
                experts.network,
                self.student_compiles,
                _sizes(self.synthetic, self.settings.matching.batch_syn),
            ),
        }
        found, built = dict.fromkeys(shares, 0.0), bool(self.device.calibrated)
        for stage, (network, compiled, share) in shares.items():
            if not compiled or not self.device.compiled_rates:
                continue
            if not network_in_cpp(network, self.device.kind):
                found[stage] = share * self._seconds("compile", Work(layers=self.cost(network).work(1).layers))
            elif not built:
                found[stage], built = BUILD_SECONDS, True
        return found

    def _seconds(self, step: Step, work: Work) -> float:
        return self.device.seconds(step, work)

    def _student(self, step: Step) -> float:
        """One student step; a pass over all images may end in a smaller batch, so this is the mean over a pass."""
        network = self.settings.experts.network
        batch = self.synthetic / math.ceil(self.synthetic / self.settings.matching.batch_syn)
        # Back-propagation through all steps has no compiled form.
        compiled = self.student_compiles and self.settings.matching.gradient != "unrolled"
        seconds = self.device.seconds(step, self.cost(network).work(batch), network, compiled)
        return seconds / self.device.faster(self.settings.matching.precision)

    def _epoch(self, step: Step, network: NetworkName, images: int, batch_size: int, compiled: bool = False) -> float:
        steps = math.ceil(images / batch_size)
        return steps * self.device.seconds(step, self.cost(network).work(images / steps), network, compiled)

    def _test(self, network: NetworkName, images: int) -> float:
        return self._epoch("test", network, images, TEST_IMAGES_AT_ONCE[self.device.kind])

    def _network(self, network: NetworkName) -> float:
        """One network of an evaluation, trained and tested."""
        recipe, compiled = self.settings.evaluate, self._evaluation_compiles(network)
        epoch = self._epoch("evaluate", network, self.synthetic, recipe.batch_size, compiled)
        return recipe.epochs * epoch + self._test(network, self.test_images)

    def _whitening(self, images: int) -> float:
        """Into the whitened space, or out of it."""
        return self._seconds("whiten", Work(flops=4.0 * images * self.pixels * self.directions))
