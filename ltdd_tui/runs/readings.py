"""How much of the machine a run has used over its time, of which as much is kept as a small curve can show."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.run.events import DeviceReading

# Some times the columns of a panel.
MOST = 512


@dataclass
class ReadingHistory:
    """Device readings in their order; of very many only every second is kept, then every fourth, ..."""

    kept: list[DeviceReading] = field(default_factory=list)
    count: int = 0
    stride: int = 1

    def append(self, reading: DeviceReading) -> None:
        """Takes one more reading."""
        if self.count % self.stride == 0:
            self.kept.append(reading)
        self.count += 1
        if len(self.kept) > MOST:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def copy(self) -> ReadingHistory:
        """Another history of the same readings."""
        return ReadingHistory(self.kept.copy(), self.count, self.stride)

    def values(self, name: str) -> list[float | None]:
        """One figure of all readings that are kept."""
        return [getattr(reading, name) for reading in self.kept]
