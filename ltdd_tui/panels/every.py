"""All panels of a run, in the order of their numbers."""

from __future__ import annotations

from ltdd_tui.panels.accuracy import AccuracyPanel
from ltdd_tui.panels.console import ConsolePanel
from ltdd_tui.panels.details import DetailsPanel
from ltdd_tui.panels.experts import ExpertsPanel
from ltdd_tui.panels.images import ImagesPanel
from ltdd_tui.panels.log import LogPanel
from ltdd_tui.panels.losses import LossesPanel
from ltdd_tui.panels.norms import NormsPanel
from ltdd_tui.panels.panel import Panel

PANELS: tuple[type[Panel], ...] = (
    AccuracyPanel,
    LossesPanel,
    NormsPanel,
    ImagesPanel,
    LogPanel,
    ExpertsPanel,
    ConsolePanel,
    DetailsPanel,
)
