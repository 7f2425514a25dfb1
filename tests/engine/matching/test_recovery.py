"""Recovery equals the same by hand: every statistic in a loop, plain autograd, and one torch.optim.Adam."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.crops import cropped, draw_crops, mirrored
from engine.matching.recovery import Recovery, class_statistics
from engine.matching.synthetic import Synthetic
from engine.nets.functional import FlatNetwork
from engine.run.synthesis import RecoverySettings
from engine.teachers import Teacher
from tests.engine.matching.toy import CLASSES, toy_teacher

IPC, SIDE, ITERATIONS = 2, 12, 5


def statistics_by_hand(network: FlatNetwork, theta: Tensor, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits (C,) and the statistics of one image (channels, H, W), from the formulas of the ConvNet."""
    named, statistics, x = network.unflatten(theta), list[Tensor](), image[None]
    for block in range(2):
        statistics += [torch.stack([channel.mean() for channel in x[0]])]
        statistics += [torch.stack([channel.var(correction=0) for channel in x[0]])]
        side = -(-x.shape[-1] // 4) * 4
        enlarged = F.interpolate(x, (side, side), mode="bilinear")[0]
        patches = [
            enlarged[:, row : row + 4, column : column + 4] for row in range(0, side, 4) for column in range(0, side, 4)
        ]
        statistics += [torch.stack([patch.mean() for patch in patches])]
        statistics += [torch.stack([patch.var(correction=0) for patch in patches])]
        x = F.conv2d(x, named[f"blocks.{block}.conv.weight"], named[f"blocks.{block}.conv.bias"], padding=1)
        statistics += [torch.stack([channel.mean() for channel in x[0]])]
        statistics += [torch.stack([channel.var(correction=0) for channel in x[0]])]
        x = F.instance_norm(x, weight=named[f"blocks.{block}.norm.weight"], bias=named[f"blocks.{block}.norm.bias"])
        x = F.avg_pool2d(F.relu(x), 2)
    logits = x.flatten() @ named["classifier.weight"].T + named["classifier.bias"]
    return logits, statistics


def class_means_by_hand(teacher: Teacher, theta: Tensor, data: Any) -> list[list[Tensor]]:
    """For each class, the mean statistics of its images."""
    of_classes = []
    for c in range(CLASSES):
        images = [image for image, label in zip(data.train_images, data.train_labels, strict=True) if label == c]
        of_images = [statistics_by_hand(teacher.network, theta, image)[1] for image in images]
        of_classes.append([sum(parts) / len(images) for parts in zip(*of_images, strict=True)])
    return of_classes


def test_class_statistics_are_means_over_the_images_of_a_class() -> None:
    teacher, data = toy_teacher()
    ours = class_statistics(teacher.network, teacher.weights[0], data)
    theirs = class_means_by_hand(teacher, teacher.weights[0], data)
    for number, part in enumerate(ours):
        torch.testing.assert_close(part, torch.stack([own[number] for own in theirs]), rtol=1e-10, atol=1e-12)


def test_steps_equal_autograd_by_hand_and_one_adam() -> None:
    teacher, data = toy_teacher()
    settings = RecoverySettings(batch_size=4, statistics_weight=0.3, first_layer_weight=10.0, learning_rate=0.2)
    recoveries = [Recovery(settings, ITERATIONS, teacher, data, mirrors) for mirrors in (False, True)]
    whitening = data.whitening
    draw = torch.Generator().manual_seed(5)
    # Some of the first images lie outside of valid pixels, and are clipped.
    pixels = 1.4 * torch.rand(CLASSES * IPC, 2, SIDE, SIDE, generator=draw, dtype=torch.float64) - 0.2
    beta = torch.tensor(0.01)
    synthetic, extra = (
        Synthetic(whitening.train(pixels), torch.zeros(CLASSES * IPC, CLASSES), beta),
        dict[str, Tensor](),
    )

    mean, std = (values[:, None, None] for values in (whitening.channel_mean, whitening.channel_std))
    images = ((pixels.clamp(0, 1) - mean) / std).requires_grad_()
    adam = torch.optim.Adam([images], settings.learning_rate, (0.5, 0.9))
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(adam, ITERATIONS)
    targets = [class_means_by_hand(teacher, theta, data) for theta in teacher.weights]
    averages = dict[tuple[int, int], list[Tensor]]()
    for iteration in range(ITERATIONS):
        mirrors = iteration // 2 % 2
        kept = {name: value.clone() for name, value in extra.items()}
        step = recoveries[mirrors].step(synthetic, extra, iteration, torch.Generator().manual_seed(iteration))
        assert all(torch.equal(extra[name], value) for name, value in kept.items()), "a step changes nothing in place"
        synthetic, extra = step.synthetic, step.extra

        draw, number, losses = torch.Generator().manual_seed(iteration), iteration % 2, list[Tensor]()
        theta = teacher.weights[number]
        for batch, indices in enumerate(([0, 1, 2, 3], [4, 5])):
            boxes = draw_crops(len(indices), settings.smallest_crop, 4 / 3, draw)
            boxes = mirrored(boxes, draw) if mirrors else boxes
            seen = whitening.train(cropped(images[indices], boxes) * std + mean)
            by_hand = [statistics_by_hand(teacher.network, theta, image) for image in seen]
            classes = [index // IPC for index in indices]
            loss = F.cross_entropy(torch.stack([logits for logits, _ in by_hand]), torch.tensor(classes))
            now = [sum(parts) / len(indices) for parts in zip(*(own for _, own in by_hand), strict=True)]
            before = averages.get((number, batch), [part.detach() for part in now])
            average = [0.8 * old + 0.2 * new.detach() for old, new in zip(before, now, strict=True)]
            averages[number, batch] = average
            for part, (value, own) in enumerate(zip(average, now, strict=True)):
                used = value + own - own.detach()
                of_all = sum(targets[number][c][part] for c in range(CLASSES)) / CLASSES
                of_batch = sum(targets[number][c][part] for c in classes) / len(classes)
                weight = 0.3 * (10 if part < 4 else 1) / 2
                loss = loss + weight * ((used - of_all).square().sum().sqrt() + (used - of_batch).square().sum().sqrt())
            losses.append(loss)
        adam.zero_grad()
        torch.stack(losses).sum().backward()
        adam.step()
        rates.step()
        with torch.no_grad():
            images.copy_(((images * std + mean).clamp(0, 1) - mean) / std)
        torch.testing.assert_close(step.loss_rep, torch.stack(losses).mean().detach(), rtol=1e-10, atol=0)
        torch.testing.assert_close(extra["normalized"], images.detach(), rtol=0, atol=1e-9)
    whitened = whitening.train(images.detach() * std + mean)
    torch.testing.assert_close(synthetic.images, whitened, rtol=0, atol=1e-8)
    torch.testing.assert_close(synthetic.label_logits, teacher.logits(whitened), rtol=0, atol=1e-8)
    assert synthetic.beta is beta
