"""Each bad input gets the message and the exit code that docs/bad-input.md promises, and never a traceback."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.generate_docs import bad_input_page
from tests.bad_input import BAD_INPUTS, BadInput

CASES = [case for cases in BAD_INPUTS.values() for case in cases]


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """The worker installs handlers of its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signal_handlers")
@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([*case.command.split()[1:4], case.given]).strip())
def test_a_bad_input_gets_its_message_and_exit_code(
    case: BadInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cache", "home", "runs_dir"):
        monkeypatch.setenv(f"LTDD_{name.upper()}", str(tmp_path / name.partition("_")[0]))
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    for name, content in case.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if case.make:
        case.make(tmp_path)
    assert (_exit_code_of(case.command, monkeypatch), _stderr(capfd, tmp_path)) == (case.exit_code, case.message)


def _exit_code_of(command: str, monkeypatch: pytest.MonkeyPatch) -> object:
    program, *arguments = shlex.split(command)
    if program != "ltdd-tui":
        from engine.__main__ import main as worker

        assert arguments[:2] == ["-m", "engine"]
        return worker(arguments[2:])
    from ltdd_tui.cli.main import main

    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def _stderr(capfd: pytest.CaptureFixture[str], folder: Path) -> str:
    return capfd.readouterr().err.strip().replace(f"{folder}/", "").replace(str(folder), ".")


def test_the_page_is_what_the_cases_make_of_it() -> None:
    page = Path(__file__).parents[2] / "docs" / "bad-input.md"
    assert page.read_text() == bad_input_page(), "run `python -m scripts.generate_docs`"
