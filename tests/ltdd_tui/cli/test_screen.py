"""When the screen opens and when it is refused, what is printed after it, and which pages `serve` accepts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.folder import RunFolder
from ltdd_tui.cli.run import closing_notes, is_terminal, show_screen
from ltdd_tui.cli.serve import is_own_page, protect


@pytest.mark.parametrize("arguments", [[], ["--runs-dir", "elsewhere", "--device", "cpu"]])
def test_without_a_terminal_it_prints_one_error_and_one_hint(command: Callable, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2 and done.out == ""
    error, hint = done.err.splitlines()
    assert error == "error: the screen needs a terminal" and "`ltdd-tui run quickstart`" in hint


def test_the_web_driver_counts_as_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_terminal()
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    assert is_terminal()


def test_garbage_collection_is_off_until_the_app_starts_and_on_after_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    collecting = []

    def open_screen(*arguments: object) -> int:
        collecting.append(gc.isenabled())
        raise OSError("no terminal")

    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    monkeypatch.setattr("ltdd_tui.app.open_screen", open_screen)
    with pytest.raises(OSError, match="no terminal"):
        show_screen(tmp_path)
    assert collecting == [False] and gc.isenabled()


@pytest.mark.parametrize("option", [("--runs-dir", "elsewhere"), ("--device", "cpu")])
def test_a_screen_option_before_a_command_is_refused(command: Callable, option: tuple[str, str]) -> None:
    done = command(*option, "runs")
    assert done.code == 2
    assert f"hint: ltdd-tui runs {option[0]}" in done.err


def test_closing_the_screen_prints_how_to_reach_running_workers(make_run: Callable, runs_dir: Path) -> None:
    folders = [RunFolder(make_run(f"run-{number}")) for number in range(8)]
    assert closing_notes(runs_dir) == []
    with contextlib.ExitStack() as held:
        held.enter_context(folders[2].held())
        assert closing_notes(runs_dir) == [
            "run-2: it runs on; `ltdd-tui watch run-2` shows it, `ltdd-tui stop run-2` stops it"
        ]
        for folder in (*folders[:2], *folders[3:7]):
            held.enter_context(folder.held())
        lines = closing_notes(runs_dir)
    assert len(lines) == 6 and lines[-1] == "and 2 more: `ltdd-tui runs` lists them"


def test_closing_the_screen_names_the_watched_run(make_run: Callable, runs_dir: Path) -> None:
    watched = RunFolder(make_run("first"))
    assert closing_notes(runs_dir, watched) == ["first: `ltdd-tui watch first` shows it again"]
    with watched.held():
        (line,) = closing_notes(runs_dir, watched)
    assert line.startswith("first: it runs on")


def test_a_run_outside_the_default_folder_is_named_by_its_path(
    make_run: Callable, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LTDD_RUNS_DIR")
    with RunFolder(make_run("first")).held():
        assert f"`ltdd-tui watch {runs_dir / 'first'}`" in closing_notes(runs_dir)[0]


def test_serve_without_its_extra_names_the_package_to_install(
    command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    done = command("serve")
    assert done.code == 2
    assert "aiohttp is not installed" in done.err and "hint: pip install 'ltdd-tui[serve]'" in done.err


def test_serve_on_a_taken_port_suggests_another(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual_serve", reason="needs textual-serve, of the extra `serve`")
    # `serve` sets it for the apps that it starts; set here, it is restored after the test.
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--port", str(port))
    assert done.code == 2
    assert done.err == f"error: 127.0.0.1:{port}: the port is taken\nhint: --port names another one\n"


def test_serve_lets_in_who_has_the_token_and_forbids_framing() -> None:
    pytest.importorskip("textual_serve", reason="needs textual-serve, of the extra `serve`")
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="the app")

    def server() -> TestServer:
        app = web.Application()
        app.add_routes([web.get("/", page), web.get("/ws", page)])
        protect(app, "right", "cookie")
        return TestServer(app)

    async def test() -> None:
        async with TestClient(server()) as client:
            for refused in ("/", "/ws", "/?token=wrong", "/?token=", "/?token=%C3%A4"):
                answer = await client.get(refused)
                assert answer.status == 403 and not answer.cookies
                assert answer.headers["X-Frame-Options"] == "DENY"
            answer = await client.get("/?token=right")
            assert answer.status == 200 and await answer.text() == "the app"
            assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
            assert answer.cookies["cookie"]["samesite"] == "Strict" and answer.cookies["cookie"]["httponly"]
        async with TestClient(server(), cookies={"cookie": "right"}) as client:
            assert (await client.get("/ws")).status == 200

    asyncio.run(test())


@pytest.mark.parametrize(
    ("origin", "asked", "host", "own"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1", True),
        ("http://localhost:8000", "localhost:8000", "127.0.0.1", True),
        ("http://[::1]:8000", "[::1]:8000", "::1", True),
        ("http://localhost:9000", "localhost:9000", "127.0.0.1", True),  # through an SSH tunnel
        ("http://gpu-box:8000", "gpu-box:8000", "0.0.0.0", True),
        ("http://evil.example", "127.0.0.1:8000", "127.0.0.1", False),
        ("http://127.0.0.1:3000", "127.0.0.1:8000", "127.0.0.1", False),
        ("http://evil.example:8000", "evil.example:8000", "127.0.0.1", False),  # DNS rebinding
        (None, "127.0.0.1:8000", "127.0.0.1", False),
        ("null", "127.0.0.1:8000", "127.0.0.1", False),
    ],
)
def test_only_pages_of_this_server_may_open_a_websocket(origin: str | None, asked: str, host: str, own: bool) -> None:
    assert is_own_page(origin, asked, host) is own
