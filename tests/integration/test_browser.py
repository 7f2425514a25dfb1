"""`ltdd-tui serve` in a real browser: keys work at once, a run is launched, nothing comes from other hosts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from engine.run.folder import RunFolder
from tests.integration.browser import chromium, new_page, opened

ROOT = Path(__file__).parents[2]
APP = str(Path(__file__).with_name("app_on_recording.py"))

pytestmark = [
    pytest.mark.skipif(find_spec("textual_serve") is None, reason="textual-serve is not installed (extra serve)"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed (extra dev)"),
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium here"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, APP, "serve", "--port", str(port), "--runs-dir", str(tmp_path / "runs")]
    environment = os.environ | {"LTDD_HOME": str(tmp_path / "home"), "LTDD_CACHE": str(tmp_path / "cache")}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    first_line = server.stderr.readline()
    address = first_line.removeprefix("ltdd-tui is at ").strip()
    assert address.startswith(f"http://127.0.0.1:{port}/?token=")
    yield address
    server.send_signal(signal.SIGINT)
    _, rest = server.communicate(timeout=20)
    assert server.returncode == 0 and "Traceback" not in rest, rest


def test_a_browser_launches_a_run_and_shows_its_images(address: str, tmp_path: Path) -> None:
    with opened() as page:
        page.open(address)
        page.wait_for("quickstart")
        # A screenshot is saved where the browser is, not beside the server.
        assert page.saves("F12", tmp_path / "screen.svg").endswith(".svg")
        assert "quickstart" in (tmp_path / "screen.svg").read_text()
        page.press("Control+s")
        page.wait_for("Matching loss")
        # More than any theme has, so they come from images.
        page.wait_for_images(colors=100)
        page.wait_for("the run is done")
        page.picture(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 300
        here = address.partition("?")[0]
        assert [url for url in page.requested if not url.startswith((here, "data:"))] == []
    assert RunFolder(tmp_path / "runs" / "quickstart").exists()


def test_a_websocket_from_another_site_is_refused(address: str) -> None:
    request = urllib.request.Request(address.replace("/?", "/ws?"), headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request)
    assert "only a page of this server" in refused.value.read().decode()


ELSEWHERE = """
<iframe src="{address}"></iframe>
<script>
  const socket = new WebSocket("{address}".replace("http", "ws").replace("/?", "/ws?"));
  socket.onopen = () => document.title = "let in";
  socket.onerror = () => document.title = "refused";
</script>
"""


@pytest.mark.long
def test_a_page_of_another_site_can_neither_frame_the_app_nor_talk_to_it(address: str, tmp_path: Path) -> None:
    """Even one that knows the token, and on the same machine, whose cookies the browser sends."""
    (tmp_path / "index.html").write_text(ELSEWHERE.format(address=address))
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with new_page() as page:
            page.goto(address)  # which sets the cookie
            for _ in range(50):
                with contextlib.suppress(Exception):
                    page.goto(f"http://127.0.0.1:{port}/")
                    break
                time.sleep(0.2)
            page.wait_for_function("document.title == 'refused' || document.title == 'let in'")
            assert page.title() == "refused"
            framed = page.frames[1].url
            assert framed.startswith("chrome-error://"), framed
    finally:
        other.terminate()
