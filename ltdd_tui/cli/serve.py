"""`serve`: the same screen in a browser, one app per tab."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from engine.run.errors import InputError
from ltdd_tui.cli.options import Device, RunsDir
from ltdd_tui.cli.output import print_note
from ltdd_tui.runs import worker

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
SHUTDOWN_SECONDS = 2.0
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "ltdd_tui")
"""What each tab runs."""
DRIVER = "ltdd_tui.cli.web_driver:WholePacketDriver"


def serve(
    runs_dir: RunsDir,
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="the port to listen on")] = 8000,
    device: Device = "auto",
) -> None:
    """Show the screen in a browser (extra `serve`), to this machine alone unless --host says otherwise."""
    command = shlex.join([*COMMAND, "--runs-dir", str(runs_dir.absolute()), "--device", device])
    try:
        listen(command, host, port)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed, and a browser needs it", hint="pip install 'ltdd-tui[serve]'"
        ) from None
    except OSError as error:
        port_taken = error.errno == errno.EADDRINUSE
        what = "the port is taken" if port_taken else f"cannot listen there: {error.strerror}"
        raise InputError(what, f"{host}:{port}", f"{'--port' if port_taken else '--host'} names another one") from None


def listen(command: str, host: str, port: int) -> None:
    """Serves `command` until Ctrl-C. Raises ModuleNotFoundError without the extra, OSError for an unusable address."""
    from aiohttp import web
    from textual_serve.server import Server

    class ScreenServer(Server):
        """textual-serve with a page of our own that loads nothing from elsewhere, closed to pages of other sites."""

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            if not is_own_page(request.headers.get("Origin"), request.host, self.host):
                raise web.HTTPForbidden(text="only a page of this server may open the app")
            return await super().handle_websocket(request)

        async def on_startup(self, app: web.Application) -> None:
            # textual-serve would announce the address here, before the port is known to be free.
            pass

        def serve(self, debug: bool = False) -> None:
            web.run_app(
                self._make_app(),
                host=self.host,
                port=self.port,
                # aiohttp calls this once it listens.
                print=lambda *_: print_note(f"ltdd-tui is at {self.public_url}; Ctrl-C ends it, and runs go on"),
                access_log=None,
                shutdown_timeout=SHUTDOWN_SECONDS,
            )

    if host not in LOOPBACK_NAMES:
        print_note(f"warning: there is no login: whoever reaches {host}:{port} can start, stop and delete runs here")
    # Each tab starts this very program, even where the current folder holds another `engine` or `ltdd_tui`.
    os.environ.update(worker.environment())
    url_host = f"[{host}]" if ":" in host else host
    public_url = f"http://{url_host}:{port}"
    templates = Path(__file__).parent
    # In the command, since textual-serve sets the variable to Textual's own driver.
    command = f"TEXTUAL_DRIVER={DRIVER} {command}"
    ScreenServer(command, host, port, title="ltdd-tui", public_url=public_url, templates_path=templates).serve()


def is_own_page(origin: str | None, requested_host: str, host: str) -> bool:
    """Whether a request comes from the page that this server, listening on `host`, gave out.

    A browser lets any page open a websocket to this machine and names that page in `Origin`. If an attacker's domain
    resolves to this machine (DNS rebinding), `Origin` and `Host` agree: a loopback server accepts only its own names.
    """
    if origin is None or urlsplit(origin).netloc != requested_host:
        return False
    return host not in LOOPBACK_NAMES or urlsplit(f"//{requested_host}").hostname in LOOPBACK_NAMES
