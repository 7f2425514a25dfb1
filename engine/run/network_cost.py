"""The cost of a network from its shape alone: parameters, floating-point operations and saved activations."""

from __future__ import annotations

from dataclasses import dataclass

from engine.run.fields import NetworkName

GIB = 2**30
TEST_IMAGES_AT_ONCE = {"cpu": 50, "cuda": 500}
"""Batch size of tests: on a CPU so small that the activations stay in the processor's cache."""
SAVED_ACTIVATIONS_BYTES = GIB
"""Most memory for the activations that matching saves in pass 1, so that pass 2 does not compute them again."""
# Memory of the images in work at a time: enough to keep a device busy, and far below what any device has.
_WORKING_BYTES = 1.5 * GIB
# Numbers in memory at the fullest moment of a student step, for each output of a convolution.
_NUMBERS_PER_OUTPUT = 5


def images_that_fit(outputs: float) -> float:
    """How many images matching works on at a time; `outputs`: what the convolutions put out for one image, float32."""
    return _WORKING_BYTES / (4 * _NUMBERS_PER_OUTPUT * outputs)


@dataclass(frozen=True)
class Work:
    """The size of a step: layers, numbers that pass through memory and floating-point operations of a forward pass."""

    layers: float = 0.0
    values: float = 0.0
    flops: float = 0.0


@dataclass(frozen=True)
class Convolution:
    """One convolution with an output of `side` pixels; per_channel counts its bias and its norm's weights."""

    inputs: int
    outputs: int
    side: int
    kernel: int = 3
    per_channel: int = 3

    @property
    def parameters(self) -> int:
        """Weights of the convolution and of its norm."""
        return self.kernel**2 * self.inputs * self.outputs + self.per_channel * self.outputs

    @property
    def flops(self) -> int:
        """Operations of one image's forward pass; a multiplication and an addition count as two."""
        return 2 * self.kernel**2 * self.inputs * self.outputs * self.side**2

    @property
    def activations(self) -> int:
        """Numbers kept for the backward pass of one image: the outputs of convolution, norm and ReLU."""
        return 3 * self.outputs * self.side**2


@dataclass(frozen=True)
class NetworkCost:
    """The convolutions of a network, the number of its features, and the classes of its linear classifier."""

    convolutions: tuple[Convolution, ...]
    features: int
    classes: int

    @property
    def parameters(self) -> tuple[int, int]:
        """Weights of the backbone, and of the classifier."""
        return sum(layer.parameters for layer in self.convolutions), self.classes * (self.features + 1)

    @property
    def flops(self) -> int:
        """Operations of one image's forward pass."""
        return sum(layer.flops for layer in self.convolutions) + 2 * self.features * self.classes

    @property
    def activations(self) -> int:
        """Numbers kept for the backward pass of one image."""
        return sum(layer.activations for layer in self.convolutions) + self.features

    def work(self, images: float) -> Work:
        """One forward pass of `images` images; the classifier counts as a layer."""
        return Work(len(self.convolutions) + 1, images * self.activations, images * self.flops)


def network_cost(
    name: NetworkName, *, channels: int, classes: int, image_size: int, width: int, depth: int
) -> NetworkCost:
    """The cost of a network on images (channels, image_size, image_size); `width` and `depth` are for the ConvNet."""
    match name:
        case "convnet":
            inputs = [channels, *[width] * (depth - 1)]
            blocks = tuple(Convolution(before, width, image_size >> block) for block, before in enumerate(inputs))
            return NetworkCost(blocks, width * (image_size >> depth) ** 2, classes)
        case "alexnet":
            return NetworkCost(_alexnet(channels, image_size), 192 * (image_size // 8) ** 2, classes)
        case "vgg11":
            return NetworkCost(_vgg11(channels, image_size), 512, classes)
        case "resnet18":
            return NetworkCost(_resnet18(channels, image_size), 512, classes)


def _alexnet(channels: int, side: int) -> tuple[Convolution, ...]:
    return (
        Convolution(channels, 128, side, kernel=5, per_channel=1),
        Convolution(128, 192, side // 2, kernel=5, per_channel=1),
        Convolution(192, 256, side // 4, per_channel=1),
        Convolution(256, 192, side // 4, per_channel=1),
        Convolution(192, 192, side // 4, per_channel=1),
    )


def _vgg11(channels: int, side: int) -> tuple[Convolution, ...]:
    layers: list[Convolution] = []
    for group in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        if layers and side >= 4:
            side //= 2
        for width in group:
            layers.append(Convolution(channels, width, side))
            channels = width
    return tuple(layers)


def _resnet18(channels: int, side: int) -> tuple[Convolution, ...]:
    layers, before = [Convolution(channels, 64, side, per_channel=2)], 64
    for width in (64, 128, 256, 512):
        halved = -(-side // 2) if before != width and side > 2 else side
        if (before, side) != (width, halved):
            layers.append(Convolution(before, width, halved, kernel=1, per_channel=2))
        layers.append(Convolution(before, width, halved, per_channel=2))
        layers += [Convolution(width, width, halved, per_channel=2)] * 3
        before, side = width, halved
    return tuple(layers)
