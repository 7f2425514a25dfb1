"""The catalog against literals that were worked out apart from it, and against real networks."""

from __future__ import annotations

from fractions import Fraction

import pytest

from engine.run.data_settings import DatasetSettings
from engine.run.datasets import FACTS, class_counts, counts_for, image_size_for
from engine.run.network_cost import network_cost

# Class 9 is 5000 / IF; the totals at IF 10, 50, 100 and 200 are those of the paper's data.
CIFAR10 = {
    10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
    50: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    200: [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25],
}
CIFAR10_TOTALS = {10: 20431, 50: 13996, 100: 12406, 200: 11203}


@pytest.mark.parametrize("factor", CIFAR10)
def test_counts_of_cifar10(factor: int) -> None:
    counts = class_counts(5000, factor, 10)
    assert counts == CIFAR10[factor]
    assert sum(counts) == CIFAR10_TOTALS[factor]


@pytest.mark.parametrize(
    ("classes", "factor", "total", "head", "tail"),
    [
        (100, 10, 19573, [500, 488, 477, 466], [53, 52, 51, 50]),
        (100, 20, 15907, [500, 485, 470, 456], [27, 26, 25, 25]),
        (100, 50, 12608, [500, 480, 462, 444], [11, 10, 10, 10]),
        (200, 10, 39072, [500, 494, 488, 482], [51, 51, 50, 50]),
        (200, 20, 31711, [500, 492, 485, 477], [26, 25, 25, 25]),
    ],
)
def test_counts_of_cifar100_and_tiny(classes: int, factor: int, total: int, head: list[int], tail: list[int]) -> None:
    counts = class_counts(500, factor, classes)
    assert (len(counts), sum(counts), counts[:4], counts[-4:]) == (classes, total, head, tail)


def exact_count(largest: int, factor: Fraction, c: int, last: int) -> int:
    """The largest n with n^last * IF^c <= N^last, in whole numbers alone."""
    bound = largest**last * factor.denominator**c // factor.numerator**c
    n = round(largest / float(factor) ** (c / last)) + 1
    while n**last > bound:
        n -= 1
    return n


@pytest.mark.parametrize(
    ("classes", "factors"),
    [(100, "10 20 50 100"), (200, "10 20"), (1000, "5 10"), (10, "10 50 100 200 1.1 2.5 3.3"), (5, "16 81 4.84")],
)
def test_counts_are_those_of_exact_arithmetic(classes: int, factors: str) -> None:
    for factor in factors.split():
        for largest in (500, 484, 1280):
            expected = [exact_count(largest, Fraction(factor), c, classes - 1) for c in range(classes)]
            assert class_counts(largest, float(factor), classes) == expected, (factor, largest)


def test_the_last_class_of_an_exact_ratio_has_all_its_images() -> None:
    pairs = [(head, factor) for head in range(1, 2001) for factor in range(1, head + 1) if head % factor == 0]
    assert len(pairs) > 11_352
    assert [pair for pair in pairs if class_counts(*pair, 10)[-1] != pair[0] // pair[1]] == []
    assert class_counts(49, 49, 10)[-1] == 1


def test_counts_of_the_digits_toy_and_of_a_single_class() -> None:
    assert class_counts(134, 50, 10) == [134, 86, 56, 36, 23, 15, 9, 6, 4, 2]
    assert class_counts(7, 30, 1) == [7]


def test_counts_of_each_known_set() -> None:
    def counts(**values: object) -> list[int] | None:
        return counts_for(DatasetSettings.model_validate(values))

    assert counts(name="cifar10", imbalance_factor=100) == CIFAR10[100]
    assert counts(name="digits") == [134] * 10
    assert counts(name="digits", test_per_class=74) == [100] * 10
    assert sum(counts(name="svhn") or []) == 73257
    assert (counts(name="svhn", class_order="count", imbalance_factor=10) or [])[::9] == [13861, 1386]
    # Class 0 has fewer images than the head asks for, and gives all it has.
    assert (counts(name="svhn", imbalance_factor=10) or [])[:2] == [4948, 10732]
    assert counts(name="folder") is None
    assert counts(name="imagenet-lt") is None
    assert len(counts(name="imagenet-lt", imbalance_factor=5) or []) == 1000


def test_facts_are_consistent() -> None:
    for name, facts in FACTS.items():
        assert len(facts.class_names) in (0, len(facts.class_sizes)), name
    assert image_size_for(DatasetSettings(name="tiny-imagenet")) == 64
    assert image_size_for(DatasetSettings(name="cifar10", resolution=16)) == 16
    assert image_size_for(DatasetSettings(name="folder")) is None


def test_parameters_of_the_papers_network() -> None:
    papers = network_cost("convnet", channels=3, classes=10, image_size=32, width=128, depth=3)
    assert papers.parameters == (299_520, 20_490)


@pytest.mark.parametrize("name", ["convnet", "resnet18", "vgg11", "alexnet"])
@pytest.mark.parametrize(("channels", "image_size"), [(3, 32), (1, 8), (3, 64)])
def test_parameters_equal_the_real_networks(name: str, channels: int, image_size: int) -> None:
    pytest.importorskip("torch")
    from engine.nets import build_network
    from engine.nets.functional import split_at_classifier

    shape = {"channels": channels, "classes": 7, "image_size": image_size, "width": 24, "depth": 3}
    network = build_network(name, **shape, seed=0)  # type: ignore[arg-type]
    sizes = {key: value.numel() for key, value in network.named_parameters()}
    real = tuple(sum(sizes[key] for key in part) for part in split_at_classifier(network))
    assert network_cost(name, **shape).parameters == real  # type: ignore[arg-type]


def test_operations_of_the_papers_network_by_hand() -> None:
    # 2 * 9 * in * out * side^2 for the three blocks, and 2 * 2048 * 10 for the classifier.
    by_hand = 18 * 128 * (3 * 32**2 + 128 * 16**2 + 128 * 8**2) + 40_960
    assert network_cost("convnet", channels=3, classes=10, image_size=32, width=128, depth=3).flops == by_hand
