"""AlexNet for small images, as the field evaluates with it: five convolutions, three max-pools, no norm."""

from __future__ import annotations

from torch import Tensor, nn


class AlexNet(nn.Module):
    """A 5x5 convolution that keeps the side, then four more; max-pools after the first, second and fifth."""

    def __init__(self, channels: int, classes: int, image_size: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _convolution(channels, 128, kernel=5),
            nn.MaxPool2d(2),
            _convolution(128, 192, kernel=5),
            nn.MaxPool2d(2),
            _convolution(192, 256, kernel=3),
            _convolution(256, 192, kernel=3),
            _convolution(192, 192, kernel=3),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(192 * (image_size // 8) ** 2, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier sees: (B, channels, H, W) -> (B, 192 * (H // 8)^2)."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits: (B, channels, H, W) -> (B, classes)."""
        return self.classifier(self.features(x))


def _convolution(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2), nn.ReLU())
