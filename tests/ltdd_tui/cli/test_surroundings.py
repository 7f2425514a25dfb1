"""In odd surroundings the program works, or says in a line why not: streams, terminals, modules, home folders."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import ltdd_tui_start
from engine.run import folder
from engine.run.errors import InputError
from ltdd_tui.cli import run
from ltdd_tui.runs import worker
from ltdd_tui_start import own_code_first

ROOT = Path(__file__).parents[3]
START = "from ltdd_tui_start import main; main()"


def test_a_user_s_own_modules_of_our_names_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("engine", "ltdd_tui", "json", "typer", "yaml"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('a user has a module {name}')")
    # As a script does, whose folder comes before PYTHONPATH; an empty entry is the current folder.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), str(ROOT)]))
    command = [sys.executable, "-P", "-c", START, "presets", "check", "quickstart"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "quickstart: no faults\n")


def test_ctrl_c_while_modules_are_loaded_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "ltdd_tui.cli.main", raising=False)
    monkeypatch.setattr("builtins.__import__", interrupted)
    with pytest.raises(SystemExit) as ended:
        ltdd_tui_start.main()
    monkeypatch.undo()
    assert ended.value.code == 130


def test_the_worker_searches_in_the_order_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = os.path.dirname(os.__file__)
    installed = os.path.join(library, "site-packages")
    paths = ["/script", "", "/users", "/python.zip", library, f"{library}/lib-dynload", "/x", installed, "/y"]
    wanted = ["/python.zip", library, f"{library}/lib-dynload", "/x", str(ROOT), installed, "/y", "/script", "/users"]
    assert own_code_first(paths) == own_code_first(wanted) == wanted
    monkeypatch.setattr(sys, "path", paths)
    assert worker.environment()["PYTHONPATH"].split(os.pathsep) == wanted


def test_closed_streams_are_as_good_as_the_null_device(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LTDD_RUNS_DIR": str(tmp_path), "LTDD_HOME": str(tmp_path)}
    for closed in (">&- 2>&- <&-", "2>&-"):
        shell = f'"{sys.executable}" -c "{START}" presets check nothing {closed}'
        done = subprocess.run(shell, shell=True, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", ""), closed


def test_a_name_that_the_locale_has_no_sign_for_is_printed_escaped(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("caf\u00e9 \u732b")
    output = io.TextIOWrapper(io.BytesIO(), encoding="iso-8859-1")
    monkeypatch.setattr(sys, "stdout", output)
    assert command("runs").code == 0
    output.flush()
    assert output.buffer.getvalue().splitlines()[1].startswith(b"caf\xe9 \\u732b")


def test_a_terminal_of_size_0_is_given_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, end = pty.openpty()
    with os.fdopen(end, "w") as terminal:
        termios.tcsetwinsize(end, (0, 0))
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(run, "is_terminal", lambda: True)
        monkeypatch.setattr("ltdd_tui.app.open_screen", lambda *_: 0)
        assert run.show_screen(tmp_path) == 0
        assert termios.tcgetwinsize(end) == (24, 80)
    os.close(master)


@pytest.mark.parametrize("without", [RuntimeError("no home"), Path("~/.cache/ltdd-tui")])
def test_a_user_without_a_home_is_told_what_to_set(
    without: RuntimeError | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(_: str) -> Path:
        if isinstance(without, Path):
            return without
        raise without

    for name, ask in (("cache", folder.cache_root), ("config", folder.user_config_root)):
        monkeypatch.delenv("LTDD_CACHE" if name == "cache" else "LTDD_HOME", raising=False)
        monkeypatch.setattr(folder, f"user_{name}_path", place)
        with pytest.raises(InputError, match="this user has no home folder\nhint: set HOME, or both LTDD_CACHE"):
            ask()
