"""A report on runs: its sections as one document, and all of its figures as a tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.run.metrics import GROUPS
from engine.run.schema import leaves
from ltdd_tui.formatting import duration, gibibytes, stage_name
from ltdd_tui.report.accuracy import accuracy, over_settings
from ltdd_tui.report.cells import ReportCell, report_cells, values_of
from ltdd_tui.report.details import details
from ltdd_tui.report.document import Block, Document, Folded, Heading, Listing
from ltdd_tui.runs.comparison import ComparedRun, differing_settings, text_of_value
from ltdd_tui.runs.messages import EVALUATED_LATER
from ltdd_tui.runs.rows import rows_from_state
from ltdd_tui.runs.tables import Cell, Table
