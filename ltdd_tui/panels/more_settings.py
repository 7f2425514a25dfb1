"""Every other setting, by block: made when its block is opened, found by typing a part of its name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Collapsible, Input, OptionList
from textual.widgets.option_list import Option

from engine.run.errors import Fault
from engine.run.schema import Leaf
from ltdd_tui.form import Form, more_settings
from ltdd_tui.setting_search import find_settings
from ltdd_tui.widgets.entry import Entry
from ltdd_tui.widgets.field import Field, spec_of
from ltdd_tui.widgets.fold import Fold
from ltdd_tui.wording import stage_name

LABEL_WIDTH = 21
# Mounting all of a block at once would keep the screen waiting.
FIELDS_AT_ONCE = 3


class Block(Fold):
    """The settings of one block; its fields are made when it is first opened."""

    DEFAULT_CSS = """
    Block > CollapsibleTitle { color: $text-accent; }
    Block > Contents { padding: 0 0 1 1; }
    """

    def __init__(self, name: str, settings: list[Leaf]) -> None:
        super().__init__(title=stage_name(name), collapsed=True, id=f"block-{name}")
        self._block, self._settings = name, settings
        self._made = asyncio.Lock()

    async def open(self, form: Form, faults: Mapping[str, Fault]) -> None:
        """Opens it, with all its fields."""
        self.collapsed = False
        async with self._made:
            made = {field.spec.key for field in self.query(Field)}
            missing = [leaf for leaf in self._settings if leaf.key not in made]
            for start in range(0, len(missing), FIELDS_AT_ONCE):
                fields = [
                    Field(spec_of(leaf), form.text(leaf.key), LABEL_WIDTH)
                    for leaf in missing[start : start + FIELDS_AT_ONCE]
                ]
                await self.query_one(Collapsible.Contents).mount_all(fields)
                for field in fields:
                    field.show(form.text(field.spec.key), field.spec.key in form.typed, faults.get(field.spec.key))
                await asyncio.sleep(0)

    def tell(self, form: Form, faults: Mapping[str, Fault]) -> None:
        """Says in the title what is changed and what is wrong below."""
        keys = {leaf.key for leaf in self._settings}
        self.title = counted(stage_name(self._block), len(keys), keys & form.typed.keys(), keys & faults.keys())
        self.mark(bool(keys & faults.keys()))


def counted(name: str, settings: int, changed: set[str], faulty: set[str]) -> str:
    """A title with the most urgent of what is below it."""
    if faulty:
        return f"{name}: {len(faulty)} fault{'s' if len(faulty) > 1 else ''}"
    return f"{name}: {len(changed)} changed" if changed else f"{name}: {settings} settings"


class Search(Entry):
    """Where one types a part of a setting's name; enter is over only when the best match has the focus."""

    def __init__(self, go: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(placeholder="find a setting: image_lr, momentum, ...", id="search", compact=True)
        self._go = go

    async def action_submit(self) -> None:
        """Goes to the best match."""
        if found := find_settings(self.value):
            await self._go(found[0].key)


class Matches(OptionList):
    """The settings that fit what was typed; enter is over only when the chosen one has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "go", "Go to", show=False, id="launch.match")]

    def __init__(self, go: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(id="matches", compact=True)
        self._go = go

    async def action_go(self) -> None:
        """Goes to the setting; to the best one where none is highlighted."""
        option = self.highlighted_option or next(iter(self.options), None)
        if option is not None and option.id:
            await self._go(option.id)


class MoreSettings(Fold):
    """All blocks, and the search; `go_to` puts the focus into the field of a setting."""

    DEFAULT_CSS = """
    MoreSettings { margin-top: 1; }
    MoreSettings > Contents { padding: 0 0 0 1; }
    MoreSettings #search { width: 1fr; background: $surface; }
    MoreSettings #matches { height: auto; max-height: 6; display: none; background: $panel; }
    MoreSettings #matches.-some { display: block; }
    """

    class Opened(Message):
        """A block, or all of this (None), was opened by hand, and is to be filled."""

        def __init__(self, block: Block | None) -> None:
            super().__init__()
            self.block = block

    def __init__(self, go_to: Callable[[str], Awaitable[None]]) -> None:
        self._blocks, self._go_to = more_settings(), go_to
        super().__init__(title="more", collapsed=True, id="more")

    async def open(self) -> None:
        """Shows search and blocks; they are made the first time."""
        self.collapsed = False
        contents = self.query_one(Collapsible.Contents)
        if not contents.query("#search"):
            await contents.mount_all(
                [
                    Search(self._go),
                    Matches(self._go),
                    *(Block(name, settings) for name, settings in self._blocks.items()),
                ]
            )

    async def open_for(self, key: str, form: Form, faults: Mapping[str, Fault]) -> None:
        """Opens what holds a setting."""
        await self.open()
        await self.query_one(f"#block-{key.partition('.')[0]}", Block).open(form, faults)

    def tell(self, form: Form, faults: Mapping[str, Fault]) -> None:
        """Says in the titles what is changed and what is wrong below."""
        keys = {leaf.key for settings in self._blocks.values() for leaf in settings}
        self.title = counted("more", len(keys), keys & form.typed.keys(), keys & faults.keys())
        self.mark(bool(keys & faults.keys()))
        for block in self.query(Block):
            block.tell(form, faults)

    def focus_search(self) -> None:
        """Goes to where one types."""
        self.screen.set_focus(self.query_one(Search))

    @on(Input.Changed, "#search")
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        found, matches = find_settings(event.value), self.query_one("#matches", OptionList)
        matches.clear_options()
        matches.add_options([Option(_match(leaf), id=leaf.key) for leaf in found])
        matches.set_class(bool(found), "-some")

    @on(OptionList.OptionSelected, "#matches")
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            self.run_worker(self._go(event.option_id), exclusive=True, group="go")

    async def _go(self, key: str) -> None:
        self.query_one(Search).value = ""
        await self._go_to(key)

    @on(Collapsible.Expanded)
    def _expanded(self, event: Collapsible.Expanded) -> None:
        event.stop()
        if isinstance(event.collapsible, Block):
            self.post_message(self.Opened(event.collapsible))
        elif event.collapsible is self:
            self.run_worker(self._opened_by_hand(), exclusive=True, group="more")

    async def _opened_by_hand(self) -> None:
        await self.open()
        self.post_message(self.Opened(None))


def _match(leaf: Leaf) -> Content:
    return Content.assemble(leaf.key, "  ", (leaf.help, "$foreground 60%"))
