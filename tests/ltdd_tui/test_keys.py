"""Replies of a terminal that were torn apart are no keys; what a person types is."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from ltdd_tui.keys import TOGETHER_SECONDS, StrayReplies


def keys_of(first: str, rest: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that Textual makes of a sequence whose rest comes too late."""
    now = [0.0]
    monkeypatch.setattr("textual._parser.get_time", lambda: now[0])
    parser = XTermParser()
    parsed = list(parser.feed(first))
    now[0] = 10.0
    parsed += [*parser.tick(), *parser.feed(rest)]
    return [event.key for event in parsed if isinstance(event, events.Key)]


@pytest.mark.parametrize("sent", ["\x1b[?2026;2$y", "\x1b[?62;4;22c", "\x1b[<35;10;5M", "\x1b[?0u"])
def test_of_a_torn_reply_nothing_acts_wherever_it_was_torn(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in range(1, len(sent)):
        replies = StrayReplies()
        keys = keys_of(sent[:cut], sent[cut:], monkeypatch)
        left = [key for key in keys if not replies.takes(key, 0.0)]
        assert len(keys) > 2 and set(left) <= {"escape", "left_square_bracket"}, (cut, keys)


@pytest.mark.parametrize(
    "keys",
    [
        ["question_mark", "2", "4"],
        ["left_square_bracket", "2", "left_square_bracket"],
        ["escape", "2"],
        ["j", "question_mark"],
        ["less_than_sign", "3"],
    ],
)
def test_what_is_typed_fast_is_typed(keys: list[str]) -> None:
    replies = StrayReplies()
    assert [key for key in keys if not replies.takes(key, 0.0)] == keys


def test_a_person_s_pace_is_no_reply_and_what_follows_one_is_typed_again() -> None:
    replies, later = StrayReplies(), 2 * TOGETHER_SECONDS
    assert not replies.takes("escape", 0.0) and not replies.takes("question_mark", later)
    assert not replies.takes("left_square_bracket", 10.0) and replies.takes("question_mark", 10.0)
    assert replies.takes("2", 10.0) and replies.takes("y", 10.0) and not replies.takes("2", 10.0)
    assert not replies.takes("left_square_bracket", 20.0) and replies.takes("question_mark", 20.0)
    assert not replies.takes("2", 20.0 + later)
