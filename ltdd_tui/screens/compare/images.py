"""The synthetic images of two runs side by side: the same class and image of both, each with its soft label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.run.events import Preview
from ltdd_tui.formatting import clean
from ltdd_tui.preferences import ImageMode
from ltdd_tui.runs.comparison import ComparedRun
from ltdd_tui.screens.compare.panels import Comparison
from ltdd_tui.screens.panel import Panel
from ltdd_tui.screens.run.images.panel import SELECTION_BINDINGS, request_of
from ltdd_tui.screens.run.images.renderer import ImageSelection, valid_previews
from ltdd_tui.screens.run.images.terminal_graphics import renderer_of
from ltdd_tui.screens.run.images.view import ImagesView


class HalfOfTwo(Vertical):
    """The images of one run below its name."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self._title = ImagesView(), Static(markup=False, classes="name")

    def compose(self) -> ComposeResult:
        yield self._title
        yield self.images

    def entitle(self, name: Content) -> None:
        """Sets what stands above the images."""
        self._title.update(name)


class ComparedImages(Panel):
    """The newest images of the base run and of one other, with one selection for both."""

    NAME, NUMBER, TITLE = "images", "6", "Synthetic images"
    ALLOW_MAXIMIZE = True
    HELP: ClassVar[str] = """
    **Synthetic images** of two runs: the base (`b` takes the next one) and one other (`w` takes the next one). Both
    show the same class and image, classes by their names; the iteration is each run's newest that was saved. `e` goes
    from all classes to one class and to one image large.
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *SELECTION_BINDINGS,
        Binding("e,enter", "cycle", "View", tooltip="All classes, one class, one image", id="images.cycle"),
        Binding("w", "next_other", "Other run", id="compare.other_images"),
    ]

    def __init__(self, mode: ImageMode) -> None:
        super().__init__()
        self._mode = mode
        self._selection = ImageSelection()
        self._halves = (HalfOfTwo(), HalfOfTwo())
        self._comparison = Comparison((), ())
        self._other = 0

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield from self._halves

    def draw_as(self, mode: ImageMode) -> None:
        """Draws pictures in this way from now on."""
        self._mode = mode
        self._show()

    def compare(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._show()

    def _pair(self) -> list[tuple[ComparedRun, str]]:
        """The base run and the other one, each with its color."""
        runs = list(self._comparison.colored)
        if len(runs) < 2:
            return runs
        base = self._comparison.base
        others = [run for place, run in enumerate(runs) if place != base]
        return [runs[base], others[self._other % len(others)]]

    def _reference(self) -> ComparedRun | None:
        """The run whose classes are counted through: the base, or the other one while the base has no images."""
        return next((run for run, _ in self._pair() if _newest(run)), None)

    def _show(self) -> None:
        pair = self._pair()
        reference = self._reference()
        selected = ""
        if reference is not None and (preview := _newest(reference)):
            self._selection = self._selection.within(preview)
            selected = "".join(_class_names(reference)[self._selection.row : self._selection.row + 1])
        for half, (run, color) in zip(self._halves, pair, strict=False):
            newest = _newest(run)
            at = f"  iteration {newest.iteration:,}" if newest else ""
            half.entitle(Content.assemble((f"{run.tag} ", color), clean(run.name), (at, "$foreground 50%")))
            if newest is None:
                half.images.request(None)
                continue
            names = _class_names(run)
            row = names.index(selected) if selected in names else self._selection.row
            selection = replace(self._selection, row=row).within(newest)
            half.images.request(request_of(run.view, newest, selection, renderer_of(self._mode, self.app)))

    def _change(self, change: Callable[[ImageSelection, Preview], ImageSelection]) -> None:
        reference = self._reference()
        if reference is not None and (newest := _newest(reference)):
            self._selection = change(self._selection.within(newest), newest)
            self._show()

    def action_move(self, rows: int, images: int) -> None:
        self._change(lambda selection, preview: selection.moved(rows, images, preview))

    def action_cycle(self) -> None:
        self._change(lambda selection, _: selection.next_mode())

    def action_next_other(self) -> None:
        self._other += 1
        self._show()

    def on_images_view_clicked(self, event: ImagesView.Clicked) -> None:
        self._change(lambda selection, _: replace(selection, row=event.row, image=event.image))


def _newest(run: ComparedRun) -> Preview | None:
    """The last images that were saved and can be shown."""
    previews = run.view.state.previews
    saved = valid_previews(previews)
    return previews[saved[-1]] if saved else None


def _class_names(run: ComparedRun) -> list[str]:
    data = run.view.state.data
    return list(data.class_names) if data else []
