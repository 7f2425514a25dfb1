"""Summary of one run for the preview pane beside the list: results, key settings, how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from engine.run.metrics import GROUPS
from ltdd_tui.formatting import PLUS_MINUS, clean, duration, mean_and_std, percent, short_path, stage_name
from ltdd_tui.runs.figures import beyond_published
from ltdd_tui.runs.index import RunEntry
from ltdd_tui.runs.results import RunSummary, settings_lines
from ltdd_tui.runs.rows import BY_TEACHER, final_with_stored_labels, has_regimes
from ltdd_tui.screens.runs.table import STATE_STYLES, state_text
from ltdd_tui.widgets.bars import cells, gauge, resampled
from ltdd_tui.widgets.lines import ACCENT, EMPTY, ERROR, MUTED, STRONG, LinesView, fit, wrapped

TAIL_CELLS, LABEL_CELLS = 28, 13
FIGURE_CELLS = (9, 6, 6, 6)
"""The columns of the accuracies: over all classes, and those of GROUPS."""
# Labels that are too long for the narrow pane.
SHORT = {"representation experts": "experts rep", "classifier experts": "experts cls", "initialization": "start"}
SHORT |= {f"random{BY_TEACHER}": "random soft"}


class RunPreview(LinesView):
    """Draws one run of the list."""

    def show(self, entry: RunEntry | None, summary: RunSummary) -> None:
        """Draws a run, as far as it has been read."""
        self.border_title = Content(clean(entry.run.name) if entry else "")
        self.draw(lambda width: list(preview_lines(entry, summary, width)) if entry else [])


def preview_lines(entry: RunEntry, summary: RunSummary, width: int) -> Iterator[Content]:
    """State, faults, last output, accuracies, accuracy by class, settings and folder, as far as they are known."""
    run = entry.run
    state, aside = (state_text(entry), f"{STATE_STYLES.get(run.state, '')} bold"), ""
    if run.stage:
        aside = f"  {stage_name(run.stage)}"
    elif summary.seconds is not None:
        aside = f"  {duration(summary.seconds)} of work"
    yield Content.assemble(state, (aside, MUTED))
    if run.progress is not None:
        yield gauge(run.progress, 1.0, width, "$primary")
    if run.tags or run.note:
        tags = Content.styled(" ".join(f"#{clean(tag)}" for tag in run.tags), ACCENT)
        yield from wrapped(run.note, width, first=tags.append("  " if run.tags and run.note else ""))
    if damage := entry.damage or (not summary.faults and run.lost):
        yield from wrapped(damage, width, ERROR)
    for fault in summary.faults:
        yield EMPTY
        yield from wrapped(f"{fault.where}: {fault.what}" if fault.where else fault.what, width, ERROR)
        if fault.hint:
            yield from wrapped(fault.hint, width, MUTED)
    if summary.console:
        yield from (EMPTY, Content.styled("last output of the worker", MUTED))
        yield from wrapped("\n".join(summary.console), width, ERROR)
    if summary.verdict:
        # Without the numbers behind it, which stand below.
        yield from (EMPTY, *wrapped(summary.verdict.split("; ")[0], width, STRONG))
    if summary.rows:
        yield from (EMPTY, *_accuracies(summary, width))
    if summary.head_to_tail:
        # The accuracy of each class as one line of blocks, the largest class at the left.
        blocks = cells(resampled(summary.head_to_tail, TAIL_CELLS), 100.0, 1)[0]
        yield from (EMPTY, Content.assemble(("head ", MUTED), (blocks, "$primary"), (" tail", MUTED)))
    if summary.settings:
        yield EMPTY
        stored = [("stored", summary.stored)] if summary.stored else []
        for name, value in [*settings_lines(summary.settings), *stored]:
            yield from wrapped(value, width, first=Content.styled(fit(name, LABEL_CELLS), MUTED))
    if summary.grid:
        yield EMPTY
        for name, value in summary.grid:
            yield from wrapped(value, width, first=Content.styled(f"{stage_name(name)}  ", MUTED))
    yield EMPTY
    yield from wrapped(short_path(entry.folder.root), width, MUTED)


def _accuracies(summary: RunSummary, width: int) -> Iterator[Content]:
    label_cells = min(width - sum(FIGURE_CELLS), LABEL_CELLS)

    def line(label: str, *figures: str) -> str:
        return fit(label, label_cells) + "".join(map(str.rjust, figures, FIGURE_CELLS))

    yield Content.styled(line("accuracy %", "all", *("med" if group == "medium" else group for group in GROUPS)), MUTED)
    named, heading = has_regimes(summary.rows), ""
    # Below the name of each label regime its rows, and last what was trained on all images.
    for row in sorted(summary.rows, key=lambda row: not row.labels) if named else summary.rows:
        above = f"{row.labels} labels" if row.labels else "all images"
        if named and above != heading:
            heading = above
            yield Content.styled(heading, ACCENT)
        mean = mean_and_std(row.accuracy_mean, row.accuracy_std, row.repeats).replace(f" {PLUS_MINUS} ", PLUS_MINUS)
        label = SHORT.get(row.title, row.title.replace("final on ", "on "))
        text = line(label, mean, *(percent(row.groups.get(group)) for group in GROUPS))
        yield Content.styled(text, STRONG if row.label == "final" else "")
    if summary.settings and (expected := summary.settings.expected):
        beyond = beyond_published(final_with_stored_labels(summary.rows), expected.accuracy)
        difference = "" if beyond is None else f"{beyond:+.1f}"
        yield Content.assemble(
            line("published", percent(expected.accuracy)), (difference.rjust(FIGURE_CELLS[1]), STRONG)
        )
