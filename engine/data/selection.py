"""Real images that stand for a class: drawn at random, or chosen by what a teacher makes of them.

The rules that use a teacher are greedy and deterministic: of images that are equally good they take the first one.
They work in float64, where images that differ are hardly ever equally good by rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data.crops import cropped, draw_crops
from engine.data.dataset import LongTailedData
from engine.run.methods import SelectionRule

View = Callable[[Tensor], Tensor]
"""Features (n, F) or logits (n, C) of images (n, channels, H, W)."""

# --- Images of every class --------------------------------------------------------------------------------------------


def pick_real_images(data: LongTailedData, ipc: int, draw: torch.Generator, allowed: Tensor | None = None) -> Tensor:
    """Indices (C * IPC,) of random real images, class after class: the random baseline, and where matching starts.

    In a class that has any images marked in `allowed` (N,), only those are taken. A class with fewer than IPC images
    repeats them.
    """

    def choose(c: int, members: Tensor) -> Tensor:
        if allowed is not None and allowed[members].any():
            members = members[allowed[members]]
        return members[torch.randperm(len(members), generator=draw)]

    return _of_every_class(data, ipc, choose)


def select_real_images(data: LongTailedData, ipc: int, rule: SelectionRule, features: View, logits: View) -> Tensor:
    """Indices (C * IPC,) of the real images that the rule chooses, class after class, by a teacher's view of them.

    A class with fewer than IPC images repeats them, in the order of their choice.
    """

    def choose(c: int, members: Tensor) -> Tensor:
        images = data.train_images[members]  # of one class, whose features take less memory than those of all

        def seen(view: View) -> Tensor:
            return view(images).double().cpu()

        match rule:
            case "confident":
                return members[confident(seen(logits), c, ipc)]
            case "herding":
                return members[herding(seen(features), ipc)]
            case "k-center":
                return members[k_center(seen(features), ipc)]
            case "graph-cut":
                return members[graph_cut(seen(features), seen(logits), c, ipc)]

    return _of_every_class(data, ipc, choose)


def surest_crops(
    data: LongTailedData,
    ipc: int,
    most_images: int,
    crops: int,
    smallest: float,
    loss: Callable[[Tensor, int], Tensor],
    generator: torch.Generator,
) -> Tensor:
    """IPC square crops of each class's images, whitened, (C * IPC, channels, H, W), class after class (RLDD).

    loss: of whitened images (N, channels, H, W) of a class, (N,). Each of at most `most_images` random images (or IPC,
    if that is more) has `crops` crops and gives that of the lowest loss in a first round, its next one in a second, and
    so on; within a round the lowest losses go first. A class with fewer crops than IPC repeats them.
    """
    chosen = []
    for c in range(data.num_classes):
        members = torch.nonzero(data.train_labels == c).flatten().cpu()
        members = members[torch.randperm(len(members), generator=generator)][: max(most_images, ipc)]
        pixels = data.whitening.to_pixels(data.train_images[members.to(data.train_images.device)])
        boxes = draw_crops(crops * len(pixels), smallest, 1.0, generator).to(pixels.device).view(crops, -1, 4)
        losses = torch.stack([loss(data.whitening.train(cropped(pixels, of_round)), c) for of_round in boxes])
        losses, best = losses.sort(dim=0, stable=True)
        images = losses.argsort(dim=1, stable=True)  # (crops, n): for each round the images in their order
        picked, crop = images.flatten(), best.gather(1, images).flatten()
        repeats = -(-ipc // len(picked))
        picked, crop = picked.repeat(repeats)[:ipc], crop.repeat(repeats)[:ipc]
        chosen.append(data.whitening.train(cropped(pixels[picked], boxes[crop, picked])))
    return torch.cat(chosen)


def _of_every_class(data: LongTailedData, ipc: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
    """IPC images of each class c, in the order of choose(c, its members); those are repeated where there are fewer."""
    picked = []
    for c in range(data.num_classes):
        order = choose(c, torch.nonzero(data.train_labels == c).flatten().cpu())
        picked.append(order.repeat(-(-ipc // len(order)))[:ipc])
    return torch.cat(picked).to(data.train_labels.device)


# --- The rules: at most `count` images of a class, by (n, F) features or (n, C) logits, in the order of their choice --


def herding(features: Tensor, count: int) -> Tensor:
    """Images whose mean stays nearest to the mean of the class (Welling 2009, as in iCaRL).

    With i images taken, the next one minimizes the norm of (i + 1) * mean - (their sum + its features).
    """
    mean, total = features.mean(dim=0), torch.zeros_like(features[0])

    def badness(taken: list[int]) -> Tensor:
        if taken:
            total.add_(features[taken[-1]])
        return ((len(taken) + 1) * mean - total - features).norm(dim=1)

    return _greedily(badness, len(features), count)


def k_center(features: Tensor, count: int) -> Tensor:
    """The image nearest to the mean of the class, then always the one farthest from all that are taken (Gonzalez 1985).

    Its distance from those is the one from the nearest of them.
    """
    nearest = torch.full((len(features),), torch.inf, dtype=features.dtype)

    def badness(taken: list[int]) -> Tensor:
        if not taken:
            return (features - features.mean(dim=0)).norm(dim=1)
        torch.minimum(nearest, (features - features[taken[-1]]).norm(dim=1), out=nearest)
        return -nearest

    return _greedily(badness, len(features), count)


def graph_cut(features: Tensor, logits: Tensor, c: int, count: int) -> Tensor:
    """Images that are like their class c and unlike each other (Iyer 2021, as in DeepCore, with lambda 1).

    The next one maximizes sum_j s_ij over the class - 2 sum_j s_ij over those taken; s is the cosine of the gradients
    of the cross-entropy in the classifier's weight, (softmax(logits) - onehot) outer features.
    """
    residual = logits.softmax(dim=1)
    residual[:, c] = 0
    residual[:, c] = -residual.sum(dim=1)  # p - 1, exact also where p is 1 by rounding
    # The cosine of two outer products is the product of the factors' cosines: no (n, n) matrix is needed, and no
    # outer product of an image. The rows are scaled by their largest entry first, because tiny ones square to 0.
    residual = residual / residual.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(residual.dtype).tiny)
    a, b = F.normalize(residual, dim=1), F.normalize(features, dim=1)
    loss = -torch.einsum("nc,cf,nf->n", a, a.T @ b, b)

    def badness(taken: list[int]) -> Tensor:
        if taken:
            loss.add_(2 * (a @ a[taken[-1]]) * (b @ b[taken[-1]]))
        return loss

    return _greedily(badness, len(features), count)


def confident(logits: Tensor, c: int, count: int) -> Tensor:
    """The images that are the likeliest to be of class c."""
    own, others = logits[:, c], logits.clone()
    others[:, c] = -torch.inf
    # By the odds, which tell images apart whose probabilities are 1 by rounding.
    odds = own - others.logsumexp(dim=1)
    return odds.argsort(descending=True, stable=True)[:count]


def _greedily(badness: Callable[[list[int]], Tensor], available: int, count: int) -> Tensor:
    """Takes the image of least badness(those taken), (n,), again and again, each image once."""
    taken: list[int] = []
    left = torch.ones(available, dtype=torch.bool)
    for _ in range(min(count, available)):
        best = int(badness(taken).masked_fill(~left, torch.inf).argmin())
        left[best] = False
        taken.append(best)
    return torch.tensor(taken)
