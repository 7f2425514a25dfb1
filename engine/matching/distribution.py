"""Distribution matching: the mean features of synthetic images follow those of real images, class by class (dm, idm).

With features f of a network and one augmentation a class, drawn for its real and synthetic images alike,
    L = sum over classes of || mean f(real) - mean f(synthetic) ||^2.
DM (Zhao and Bilen, 2023) takes a new random network in every iteration. IDM (Zhao et al., 2023) takes one of a queue of
networks that are trained on the way, and adds the cross-entropy of the synthetic images, weighted by how well the
network does on real ones. Both are first order: one pass forward and one back through the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.augment import Augmentation, adjoint, apply, draw
from engine.data.dataset import LongTailedData
from engine.losses import one_hot
from engine.matching.classifier_phase import Backbone
from engine.matching.plain import IterationResult
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.fields import AugmentationName
from engine.run.network_cost import TEST_IMAGES_AT_ONCE
from engine.run.synthesis import DistributionSettings
from engine.training.accuracy import in_test_batches
from engine.training.sgd import Gradient, Sgd, Step, TrainingState


@dataclass(frozen=True)
class FeatureMatcher:
    """Loss and gradient at one network's weights; its fields are what stays the same from one iteration to the next."""

    settings: DistributionSettings
    network: FlatNetwork
    backbone: Backbone
    data: LongTailedData
    augmentation: tuple[AugmentationName, ...]

    def match(
        self, theta: Tensor, synthetic: Synthetic, generator: torch.Generator, cross_entropy_weight: float, drawn: str
    ) -> IterationResult:
        """L, plus the cross-entropy of each class at its weight, at weights (P,), and the gradient in the images.

        The synthetic images are decoded, and lie class by class. Labels and beta are not learnt.
        """
        with torch.no_grad():
            augmentations = [self._draw_augmentation(generator) for _ in self.data.class_names]
            real = self._mean_real_features(theta, augmentations, generator)
            by_class = synthetic.images.split(synthetic.ipc)
            pairs = list(zip(augmentations, by_class, strict=True))
            images = torch.cat([apply(_of_all(one, own), own) for one, own in pairs])
            pieces = images.split(TEST_IMAGES_AT_ONCE.get(images.device.type, 50))
            features, activations = zip(*(self.backbone.features(theta, piece) for piece in pieces), strict=True)
            loss, grad_features = self._loss_and_gradient(theta, torch.cat(features), real, cross_entropy_weight)
        # The plain backbone goes back by autograd, so outside of no_grad.
        grad_pieces = grad_features.split([len(piece) for piece in pieces])
        back = zip(pieces, grad_pieces, activations, strict=True)
        grad_augmented = torch.cat([self.backbone.backward(theta, *piece) for piece in back])
        grad_by_class = zip(augmentations, grad_augmented.split(synthetic.ipc), strict=True)
        grad_images = torch.cat([adjoint(_of_all(one, own), own) for one, own in grad_by_class])
        nothing = torch.zeros_like(synthetic.label_logits), torch.zeros_like(synthetic.beta)
        return IterationResult(Synthetic(grad_images, *nothing), loss, None, drawn)

    def _loss_and_gradient(
        self, theta: Tensor, features: Tensor, real: Tensor, cross_entropy_weight: float
    ) -> tuple[Tensor, Tensor]:
        """The loss, and its derivative in the features (S, F) of the synthetic images; `real`: mean features (C, F)."""
        classes = len(real)
        of_class = len(features) // classes
        distance = features.view(classes, of_class, -1).mean(dim=1) - real
        loss = distance.square().sum()
        grad_features = (2 / of_class * distance).repeat_interleave(of_class, dim=0)
        if cross_entropy_weight:
            weight, bias = self.network.classifier_weights(theta)
            logits = features @ weight.T + bias
            labels = torch.arange(classes, device=logits.device).repeat_interleave(of_class)
            factor = cross_entropy_weight / of_class  # the sum over classes of the mean of each
            loss = loss + factor * F.cross_entropy(logits, labels, reduction="sum")
            grad_features = grad_features + factor * (logits.softmax(dim=1) - one_hot(labels, logits)) @ weight
        return loss, grad_features

    def _mean_real_features(
        self, theta: Tensor, augmentations: list[Augmentation], generator: torch.Generator
    ) -> Tensor:
        """Mean features (C, F) of random real images of each class."""
        means, first = [], 0  # train images are class after class
        for augmentation, count in zip(augmentations, self.data.class_counts, strict=True):
            chosen = first + torch.randperm(count, generator=generator)[: self.settings.real_batch]
            first += count
            images = self.data.train_images[chosen.to(self.data.train_images.device)]
            means.append(self.features(theta, apply(_of_all(augmentation, images), images)).mean(dim=0))
        return torch.stack(means)

    def _draw_augmentation(self, generator: torch.Generator) -> Augmentation:
        return draw(self.augmentation, 1, self.data.image_size, generator)

    def features(self, theta: Tensor, images: Tensor) -> Tensor:
        """Features (N, F) of images (N, channels, H, W), without a gradient."""
        return in_test_batches(lambda weights, batch: self.backbone.features(weights, batch)[0], theta, images)


def _of_all(one: Augmentation, images: Tensor) -> Augmentation:
    """The augmentation with the same amounts for each of the images."""
    return Augmentation(one.name, one.amounts.expand(len(images), -1))


@dataclass(frozen=True)
class DistributionMatcher:
    """DM: gradients at new random networks. fresh_weights(n): the weights (P,) of the run's random network number n."""

    matcher: FeatureMatcher
    fresh_weights: Callable[[int], Tensor]

    def gradient(
        self, synthetic: Synthetic, iteration: int, generator: torch.Generator, extra: Mapping[str, Tensor]
    ) -> IterationResult:
        """L and its gradient; all randomness comes from `generator` and the number of the iteration."""
        return self.matcher.match(self.fresh_weights(iteration), synthetic, generator, 0.0, f"network {iteration}")


@dataclass(frozen=True)
class QueueMatcher:
    """IDM: gradients at networks of a queue, which is trained on the way.

    What it carries from one iteration to the next: the networks' weights and velocities (n, P), and their accuracies
    (n,), in percent of the last real batch that each was trained on.
    """

    matcher: FeatureMatcher
    fresh_weights: Callable[[int], Tensor]
    training_gradient: Gradient

    def gradient(
        self, synthetic: Synthetic, iteration: int, generator: torch.Generator, extra: Mapping[str, Tensor]
    ) -> IterationResult:
        """The loss and its gradient; `extra` of the result is the queue after this iteration, updated in place."""
        queue, settings = self._with_new_networks(extra, iteration), self.matcher.settings
        drawn = int(torch.randint(len(queue["weights"]), (), generator=generator))
        weight = settings.cross_entropy_weight * float(queue["accuracies"][drawn])
        theta = queue["weights"][drawn]
        result = self.matcher.match(theta, synthetic, generator, weight, f"network {drawn} of the queue")
        trained = torch.randperm(len(queue["weights"]), generator=generator)[: settings.trained_networks]
        for number in trained.tolist():
            self._train(queue, number, generator)
        return replace(result, extra=queue)

    def _with_new_networks(self, extra: Mapping[str, Tensor], iteration: int) -> dict[str, Tensor]:
        """The queue, with those networks that are new in this iteration, and without the oldest if there are too many.

        A network's number in the run, and so its weights, follow from the iteration in which it joins.
        """
        settings = self.matcher.settings
        numbers = [] if extra else list(range(settings.first_networks))
        if iteration % settings.network_every == 0:
            numbers.append(settings.first_networks + iteration // settings.network_every)
        if not numbers:
            return dict(extra)
        weights = torch.stack([self.fresh_weights(number) for number in numbers])
        new = {
            "weights": weights,
            "velocities": torch.zeros_like(weights),
            # Not trained yet: until it is, its opinion of the synthetic images counts nothing.
            "accuracies": weights.new_zeros(len(numbers)),
        }
        both = {name: torch.cat([extra[name], tensor]) if extra else tensor for name, tensor in new.items()}
        return {name: tensor[-settings.most_networks :] for name, tensor in both.items()}

    def _train(self, queue: dict[str, Tensor], number: int, generator: torch.Generator) -> None:
        """Some steps of SGD on real images of all classes, as long-tailed as they are; without augmentation."""
        settings, data, one = self.matcher.settings, self.matcher.data, slice(number, number + 1)
        theta, velocity = queue["weights"][one], queue["velocities"][one]
        state = TrainingState(theta, velocity, theta.new_tensor([[settings.learning_rate]]))
        step = Step(state, self.training_gradient, Sgd(settings.momentum, settings.weight_decay))
        for _ in range(settings.training_steps):
            chosen = torch.randperm(len(data.train_images), generator=generator)[: settings.training_batch]
            chosen = chosen.to(data.train_images.device)
            images, labels = data.train_images[chosen], data.train_labels[chosen]
            step(images[None], labels[None])
        weight, bias = self.matcher.network.classifier_weights(theta[0])
        predicted = (self.matcher.features(theta[0], images) @ weight.T + bias).argmax(dim=1)
        queue["accuracies"][number] = 100 * (predicted == labels).to(theta.dtype).mean()
