"""VGG11 for small images, with instance norm, as the field evaluates with it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

# Widths of the eight convolutions (VGG paper, configuration A), one group between two max-pools.
GROUPS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG11(nn.Module):
    """Eight 3x3 convolutions with instance norm, a max-pool after each group, one linear classifier."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = image_size
        for group in GROUPS:
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
