"""One field of a form: a label, a control for the kind of value, and beneath it the fault of what was typed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Blur, Click, Focus, Mount, Resize
from textual.message import Message
from textual.strip import Strip
from textual.style import Style
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Collapsible, Input, RadioButton, Select, SelectionList, Static, Switch
from textual.widgets.collapsible import CollapsibleTitle

from engine.run.errors import Fault
from engine.run.schema import KINDS, Leaf
from ltdd_tui.formatting import clean
from ltdd_tui.widgets.lines import FADED

Value = TypeVar("Value")

# ---- Controls that Textual does not have. ----

ON, OFF, CHANGED_MARK = "■", "□", "•"


class Choices(Static, can_focus=True):
    """Several words of a list, each on or off, in one line that wraps; what is turned on later stands later.

    Textual's SelectionList takes a line for each word, and keeps no order: a form of 60 settings has no room for that.
    Left and right move, space or a click turns a word on or off.
    """

    TITLE: ClassVar[str] = "List of words"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Left", show=False, id="choices.left"),
        Binding("right,l", "move(1)", "Right", show=False, id="choices.right"),
        Binding("space,enter", "turn_here", "On or off", show=False, id="choices.toggle"),
    ]
    DEFAULT_CSS = """
    Choices { height: auto; color: $foreground; background: $surface; }
    Choices:focus { background: $surface-lighten-1; }
    """

    class Changed(Message):
        """A word was turned on or off."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self, words: Sequence[str], text: str) -> None:
        super().__init__()
        self._words, self._at = list(words), 0
        self.value = text

    @property
    def value(self) -> str:
        """The words that are on, such as `color, crop`, and `[]` for none; other words join the list."""
        return ", ".join(self._chosen) or "[]"

    @value.setter
    def value(self, text: str) -> None:
        self._chosen = [word for part in text.strip("[]").split(",") if (word := part.strip())]
        self._words += [word for word in self._chosen if word not in self._words]
        self._draw()

    def on_click(self, event: Click) -> None:
        if word := event.style.meta.get("word"):
            self.action_turn(word)

    def action_move(self, by: int) -> None:
        self._at = (self._at + by) % len(self._words)
        self._draw()

    def action_turn_here(self) -> None:
        """Turns the word on or off that one is at."""
        self.action_turn(self._words[self._at])

    def action_turn(self, word: str) -> None:
        """Turns a word on or off."""
        self._at = self._words.index(word)
        self._chosen = [other for other in self._chosen if other != word] + [word] * (word not in self._chosen)
        self._draw()
        self.post_message(self.Changed(self.value))

    @on(Mount)
    @on(Focus)
    @on(Blur)
    def _draw(self) -> None:
        parts = []
        for place, word in enumerate(self._words):
            on = word in self._chosen
            style = Style.parse(("" if on else FADED) + (" reverse" if self.has_focus and place == self._at else ""))
            parts.append(Content.styled(f"{ON if on else OFF}{word}", style + Style.from_meta({"word": word})))
        self.update(Content("  ").join(parts))


# Textual 8.2.8 draws the same X or dot in a box whether it is ticked or not: with NO_COLOR, or to a color-blind eye,
# each looks ticked.
TICKED, NOT_TICKED = "[x]", "[ ]"
CHOSEN, NOT_CHOSEN = "(●)", "( )"


class TickList(SelectionList[Value]):
    """A SelectionList whose boxes are empty unless they are ticked."""

    def render_line(self, y: int) -> Strip:
        # The line of an OptionList, to which SelectionList would add its box; its style knows what a click ticks.
        strip = super(SelectionList, self).render_line(y)
        style = next((segment.style for segment in strip if segment.style), RichStyle.null())
        place = style.meta.get("option")
        if place is None:
            return strip
        ticked = self.get_option_at_index(place).value in self.selected
        return Strip([Segment(f"{TICKED if ticked else NOT_TICKED} ", style), *strip])


class RadioChoice(RadioButton):
    """A RadioButton that is empty unless it is the one chosen."""

    @property
    def _button(self) -> Content:
        return Content.styled(CHOSEN if self.value else NOT_CHOSEN, self.get_visual_style("toggle--label"))


class Entry(Input, inherit_bindings=False):
    """An Input without ctrl+e, the form's key for a dry run; in Textual's it goes to the end of the line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding for binding in Binding.make_bindings(Input.BINDINGS) if binding.key != "ctrl+e"
    ]


# ---- The field. ----

Control = Input | Select[str] | Switch | Choices


@dataclass(frozen=True)
class Spec:
    """What a field looks like. options: (words, value) to pick from; `is_list` where several may be picked at once.

    is_long: its text mostly needs the whole width, as a path does. help: the help shown elsewhere, so that a fault need
    not repeat it.
    """

    key: str
    label: str
    note: str = ""
    placeholder: str = ""
    options: tuple[tuple[str, str], ...] = ()
    is_list: bool = False
    is_switch: bool = False
    is_long: bool = False
    suggestions: tuple[str, ...] = ()
    help: str = ""


def spec_of(leaf: Leaf) -> Spec:
    """The field of a setting, by its kind alone."""
    picks = not leaf.is_list and leaf.kind.startswith("one of ")
    options = tuple((choice, choice) for choice in leaf.choices) if picks or leaf.is_list else ()
    return Spec(
        leaf.key,
        leaf.key.rpartition(".")[2],
        leaf.unit,
        "empty" if leaf.optional else leaf.kind,
        options,
        leaf.is_list,
        leaf.kind == KINDS["boolean"],
        suggestions=() if options else leaf.choices,
        help=leaf.help,
    )


class Field(Widget):
    """Draws label, note and fault itself, around the one control it holds: many fields must mount quickly."""

    DEFAULT_CSS = """
    Field {
        height: auto; width: 1fr; padding-left: 1; layout: vertical;
        border-left: blank;
        color: $text-muted;
        &:focus-within { color: $text; }
        &.-changed { color: $text-accent; }
        &.-fault { border-left: outer $error; background: $error 12%; color: $text-error; }
    }
    Field > Input, Field > Select, Field > Choices { width: 1fr; }
    Field SelectCurrent Static#label { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Field SelectOverlay { text-wrap: nowrap; text-overflow: ellipsis; }
    Field > Switch { border: none; height: 1; padding: 0; background: transparent; }
    """
    NOTE_WIDTH: ClassVar[int] = 15
    ROOMY: ClassVar[int] = 56
    ARROW_WIDTH: ClassVar[int] = 4

    class Edited(Message):
        """A person changed the text of a field; whoever handles it calls the field's `taken`."""

        def __init__(self, field: Field, text: str) -> None:
            super().__init__()
            self.field, self.key, self.text = field, field.spec.key, text

    class Entered(Message):
        """Enter was pressed in a text field that holds `text`."""

        def __init__(self, key: str, text: str) -> None:
            super().__init__()
            self.key, self.text = key, text

    def __init__(self, spec: Spec, text: str, label_width: int) -> None:
        super().__init__()
        self.spec, self._text, self._label_width = spec, text, label_width
        self._fault: Fault | None = None
        self._roomy, self._stacked = False, spec.is_list
        self._shown: tuple[str, bool, Fault | None] | None = None
        self._edits_under_way = 0
        self.control = self._make_control()

    def compose(self) -> ComposeResult:
        yield self.control

    def _make_control(self) -> Control:
        spec, text = self.spec, self._text
        if spec.is_list:
            return Choices([value for _, value in spec.options], text)
        if spec.options:
            return Select(self._offered(text), value=text, allow_blank=False, compact=True)
        if spec.is_switch:
            return Switch(text == "true", animate=False)
        suggester = SuggestFromList(spec.suggestions) if spec.suggestions else None
        return Entry(text, spec.placeholder, suggester=suggester, compact=True)

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self, event: Resize) -> None:
        # The note is shown only where there is room beside the control, which goes below the label where it has none.
        self._roomy = event.size.width >= self.ROOMY
        room = self.content_size.width - self._label_width - self.ARROW_WIDTH - (self.NOTE_WIDTH if self._roomy else 0)
        longest = max((cell_len(words) for words, _ in self.spec.options), default=0)
        self._stacked = self.spec.is_list or longest > room or (self.spec.is_long and not self._roomy)
        self._fit()

    def show(self, text: str, changed: bool, fault: Fault | None) -> None:
        """Puts in a text from the form, marks it as changed, and shows its fault; posts no Edited.

        While an edit is under way to the form, the form's text is older than what was typed, and is left out.
        """
        text = self._text if self._edits_under_way else text
        if (text, changed, fault) == self._shown:
            return
        self._shown = (text, changed, fault)
        self.set_class(changed, "-changed")
        self.set_class(fault is not None, "-fault")
        # A form has no spaces around its texts; those just typed may be about to stand between two words.
        if text != self._text.strip():
            self._text = text
            with self.prevent(Input.Changed, Select.Changed, Switch.Changed, Choices.Changed):
                self._put(text)
        if fault != self._fault:
            self._fault = fault
            self._fit()
        self.refresh()

    def suggest(self, placeholder: str) -> None:
        """Sets what an empty text field shows dimly."""
        if isinstance(self.control, Input):
            self.control.placeholder = placeholder

    def render(self) -> Content:
        """Label and note on the first line, the fault below what the control takes."""
        width = self.content_size.width
        mark = f"{CHANGED_MARK} " if self.has_class("-changed") else ""
        label = f"{mark}{self.spec.label}"[: width if self._stacked else self._label_width]
        note = self.spec.note if self._roomy and len(self.spec.note) < self.NOTE_WIDTH else ""
        below = "\n" * (self.control.size.height + self._stacked)
        fault = Content(below + "\n".join(self._fault_lines()))
        return Content.assemble(label, (note.rjust(max(width - len(label), 0)), "$foreground 50%"), fault)

    def _fault_lines(self) -> list[str]:
        """The fault and its hint, wrapped to the width of the field."""
        if self._fault is None or self.content_size.width < 8:
            return []
        hint = "" if self._fault.hint == self.spec.help else self._fault.hint
        # Names of files stand in faults, and may hold what moves a terminal's cursor.
        texts = [clean(text) for text in (self._fault.what, hint) if text]
        return [line for text in texts for line in textwrap.wrap(text, self.content_size.width)]

    def _fit(self) -> None:
        """Makes room for the label, the note and the fault around the control; a stacked one stands below the label."""
        below = len(self._fault_lines())
        right = self.NOTE_WIDTH if self._roomy else 0
        self.control.styles.margin = (1, 0, below, 2) if self._stacked else (0, right, below, self._label_width)
        self.refresh()

    def _offered(self, text: str) -> list[tuple[str, str]]:
        """The options, with a value that is none of them as it is."""
        offered = list(self.spec.options)
        return offered if text in {value for _, value in offered} else [*offered, (text, text)]

    def _put(self, text: str) -> None:
        control: Any = self.control
        if isinstance(control, Select):
            control.set_options(self._offered(text))
        control.value = text == "true" if isinstance(control, Switch) else text

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Switch.Changed)
    @on(Choices.Changed)
    def _edited(self, event: Input.Changed | Select.Changed | Switch.Changed | Choices.Changed) -> None:
        event.stop()
        value = event.value
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text != self._text:
            self._text, self._shown = text, None
            self._edits_under_way += 1
            self.post_message(self.Edited(self, text))

    def taken(self) -> None:
        """To be called when an Edited message was handled: from now on the form knows the new text."""
        self._edits_under_way -= 1

    @on(Input.Submitted)
    def _next(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()
        self.post_message(self.Entered(self.spec.key, event.value))


class Fold(Collapsible, inherit_css=False):
    """A part of a form that is folded away until somebody opens it: a Collapsible that looks the same in focus.

    Those have everything below styled anew at each step of the focus, which with many fields is too slow to type
    through.
    """

    DEFAULT_CSS = """
    Fold {
        width: 1fr; height: auto;
        &.-collapsed > Contents { display: none; }
        & > CollapsibleTitle { padding: 0 1; width: 1fr; }
        & > CollapsibleTitle.-fault { color: $text-error; }
    }
    """

    def mark(self, faulty: bool) -> None:
        """Shows in the title that something is wrong below; a class of its own would have all of it styled anew."""
        for title in self.query_children(CollapsibleTitle):
            title.set_class(faulty, "-fault")
