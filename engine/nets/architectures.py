"""The four architectures that dataset distillation evaluates with: ConvNet, AlexNet, ResNet18 and VGG11.

Each has `features` (B, channels, H, W) -> (B, F) and one linear `classifier` on top, so that backbone and classifier
can be matched apart (docs/method.md, section 4). The norms are instance norms, and all but AlexNet have them.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

# ---- ConvNet: the network of the experts and of the student ----

# Added to the variance by the norm: PyTorch's default, named because norm_pool.py and its C++ form need it too.
EPSILON = 1e-5


class ConvNetBlock(nn.Module):
    """Convolution, instance norm with affine weights, ReLU, mean pooling: (B, in, H, W) -> (B, out, H/2, W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        # One group a channel is instance norm; GroupNorm has the affine weights under their usual names.
        self.norm = nn.GroupNorm(channels_out, channels_out, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class ConvNet(nn.Module):
    """`depth` blocks of one width; at width 128, depth 3, 32x32: 299,520 backbone and 20,490 classifier parameters."""

    def __init__(self, channels: int, classes: int, image_size: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [channels] + [width] * depth
        self.blocks = nn.Sequential(*(ConvNetBlock(a, b) for a, b in itertools.pairwise(widths)))
        self.classifier = nn.Linear(width * (image_size >> depth) ** 2, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, width * (H / 2^depth)^2)."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))


# ---- AlexNet for small images: five convolutions, three max-pools, no norm ----


class AlexNet(nn.Module):
    """A 5x5 convolution that keeps the side, then four more; max-pools after the first, second and fifth."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _convolution_relu(channels, 128, kernel=5),
            nn.MaxPool2d(2),
            _convolution_relu(128, 192, kernel=5),
            nn.MaxPool2d(2),
            _convolution_relu(192, 256, kernel=3),
            _convolution_relu(256, 192, kernel=3),
            _convolution_relu(192, 192, kernel=3),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(192 * (image_size // 8) ** 2, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, 192 * (H // 8)^2)."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))


def _convolution_relu(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2), nn.ReLU())


# ---- ResNet18 for small images: a 3x3 stem, no max-pool, instance norm ----


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution_norm(channels_in, channels_out, kernel=3, stride=stride)
        self.second = _convolution_norm(channels_out, channels_out, kernel=3)
        same_shape = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same_shape else _convolution_norm(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet18(nn.Module):
    """Four stages of two residual blocks, 64 to 512 channels, mean over the image, one linear classifier."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        side, width_before = image_size, 64
        for width in (64, 128, 256, 512):
            # Instance norm of a single pixel is a constant: a stage keeps its side where halving leaves less than 2x2.
            stride = 2 if blocks and side > 2 else 1
            blocks += [ResidualBlock(width_before, width, stride), ResidualBlock(width, width, 1)]
            side, width_before = -(-side // stride), width
        self.stem = _convolution_norm(channels, 64, kernel=3)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, 512)."""
        return F.adaptive_avg_pool2d(self.blocks(F.relu(self.stem(x))), 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))


def _convolution_norm(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    # One group a channel is instance norm; it subtracts the mean, so the convolution needs no bias.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(channels_out, channels_out),
    )


# ---- VGG11 for small images, with instance norm ----

# Widths of the eight convolutions (Simonyan and Zisserman 2015, configuration A), a group between two max-pools.
VGG_WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG11(nn.Module):
    """Eight 3x3 convolutions with instance norm, a max-pool after each group, one linear classifier."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = image_size
        for group in VGG_WIDTHS:
            # Instance norm of a single pixel is a constant: no norm may follow a pool that leaves less than 2x2.
            if layers and side >= 4:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            for width in group:
                norm = nn.GroupNorm(width, width)
                layers += [nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU()]
                channels = width
        layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, 512)."""
        return F.adaptive_avg_pool2d(self.layers(x), 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))
