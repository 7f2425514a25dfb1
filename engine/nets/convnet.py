"""ConvNet: the field's small network, `depth` blocks of 3x3 convolution, instance norm, ReLU and 2x2 mean pooling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# Added to the variance by the norm: torch's own default, named for the derivatives by hand.
EPSILON = 1e-5


class Block(nn.Module):
    """Convolution, instance norm with affine weights, ReLU, mean pooling: (B, in, H, W) -> (B, out, H/2, W/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        # One group a channel is instance norm; GroupNorm has the affine weights under their usual names.
        self.norm = nn.GroupNorm(channels_out, channels_out, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class ConvNet(nn.Module):
    """ConvNet-D`depth`; for 32x32 at width 128 depth 3: 299,520 backbone and 20,490 classifier parameters."""

    def __init__(self, channels: int, classes: int, image_size: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [channels] + [width] * depth
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.classifier = nn.Linear(width * (image_size >> depth) ** 2, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, width * (H / 2^depth)^2)."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))
