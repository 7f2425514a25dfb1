"""ResNet18 for small images: a 3x3 stem, no max-pool, and instance norm, as the field evaluates with it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(channels_in, channels_out, kernel=3, stride=stride)
        self.second = _convolution(channels_out, channels_out, kernel=3)
        same_shape = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same_shape else _convolution(channels_in, channels_out, 1, stride)

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
        self.stem = _convolution(channels, 64, kernel=3)
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(512, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, 512)."""
        return F.adaptive_avg_pool2d(self.blocks(F.relu(self.stem(x))), 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    # One group a channel is instance norm; it subtracts the mean, so the convolution needs no bias.
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(channels_out, channels_out),
    )
