"""How times, sizes and accuracies are written, everywhere the same."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """`42 s`, `3:07`, `2:05:09`, `44 days`; a dash for what is not known."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds >= 48 * 3600:
        return f"{seconds / 86400:.0f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(value: float | None) -> str:
    """One decimal; a dash for what is not known."""
    return "-" if value is None else f"{value:.1f}"


def mean_and_std(mean: float | None, std: float | None, repeats: int) -> str:
    """`86.9 +- 0.7`; without a spread where one network cannot have one."""
    if mean is None:
        return "-"
    return f"{mean:.1f} +- {std:.1f}" if repeats > 1 and std is not None else f"{mean:.1f}"


def stage_name(name: str) -> str:
    """A stage's name as it is said."""
    return name.replace("_", " ")


def roughly(seconds: float) -> str:
    """An estimate of time, no finer than it can be meant: `40 s`, `14 min`, `3.2 h`, `6 days`."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        value = seconds / size
        if value < most:
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def gibibytes(value: float) -> str:
    """A size in GiB, with as many digits as tell something."""
    if value < 0.1:
        return f"{value * 1024:.0f} MiB"
    return f"{value:.2f} GiB" if value < 1 else f"{value:.1f} GiB" if value < 100 else f"{value:,.0f} GiB"
