"""`serve`: the same screen in a browser, one app per tab."""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from engine.run.errors import InputError
from ltdd_tui.cli.options import Device, RunsDir
from ltdd_tui.cli.output import print_note
from ltdd_tui.runs import worker

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
SHUTDOWN_SECONDS = 2.0
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "ltdd_tui")
"""What each tab runs."""
HEADERS = {
    # No page of another site may frame the app, and so have its user click on what is not seen.
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    # The address of the page holds the token.
    "Referrer-Policy": "no-referrer",
}
DRIVER = "ltdd_tui.cli.web_driver:WholePacketDriver"


def serve(
    runs_dir: RunsDir,
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="the port to listen on")] = 8000,
    device: Device = "auto",
) -> None:
    """Show the screen in a browser (extra `serve`), to this machine alone unless --host says otherwise.

    The address that it prints holds a token, new each time: nobody else gets in.
    """
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
        """textual-serve with a page of our own that loads nothing from elsewhere, closed to strangers."""

        async def _make_app(self) -> web.Application:
            app: web.Application = await super()._make_app()
            protect(app, token, f"ltdd-tui-{port}")
            return app

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
                print=lambda *_: print_note(
                    f"ltdd-tui is at {self.public_url}/?token={token}\nCtrl-C ends it, and runs go on"
                ),
                access_log=None,
                shutdown_timeout=SHUTDOWN_SECONDS,
            )

    token = secrets.token_urlsafe(24)
    if host not in LOOPBACK_NAMES:
        print_note(f"warning: {host}:{port} is not encrypted: who can listen in on the network gets the token, too")
    # Each tab starts this very program, even where the current folder holds another `engine` or `ltdd_tui`.
    os.environ.update(worker.environment())
    url_host = f"[{host}]" if ":" in host else host
    public_url = f"http://{url_host}:{port}"
    templates = Path(__file__).parent
    # In the command, since textual-serve sets the variable to Textual's own driver.
    command = f"TEXTUAL_DRIVER={DRIVER} {command}"
    ScreenServer(command, host, port, title="ltdd-tui", public_url=public_url, templates_path=templates).serve()


def protect(app: web.Application, token: str, cookie: str) -> None:
    """Lets only those in who give `token` in the address, or in `cookie`, which the first answer sets.

    Every user of a machine reaches its loopback address. Websockets are requests as all others here.
    """
    from aiohttp import web

    def is_right(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), token.encode())

    @web.middleware
    async def let_in(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        in_address = is_right(request.query.get("token"))
        if not in_address and not is_right(request.cookies.get(cookie)):
            raise web.HTTPForbidden(text="open the address that `ltdd-tui serve` printed: its end, ?token=..., is new")
        response = await handler(request)
        if in_address and not response.prepared:
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        return response

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    app.middlewares.append(let_in)
    app.on_response_prepare.append(add_headers)


def is_own_page(origin: str | None, requested_host: str, host: str) -> bool:
    """Whether a request comes from the page that this server, listening on `host`, gave out.

    A browser lets any page open a websocket to this machine and names that page in `Origin`. If an attacker's domain
    resolves to this machine (DNS rebinding), `Origin` and `Host` agree: a loopback server accepts only its own names.
    """
    if origin is None or urlsplit(origin).netloc != requested_host:
        return False
    return host not in LOOPBACK_NAMES or urlsplit(f"//{requested_host}").hostname in LOOPBACK_NAMES
