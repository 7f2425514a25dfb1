"""The web server: textual-serve with a page of our own, loaded from here alone, and a closer look at who asks."""

from __future__ import annotations

import errno
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

from engine.run.errors import InputError
from ltdd_tui.cli.output import note
from ltdd_tui.cli.serve import is_own_page

SHUTDOWN_SECONDS = 2.0


class ScreenServer(Server):
    """Serves the app at `command` to browsers; pages of other sites may not speak with it."""

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Opens an app for a page of this server; refuses every other page."""
        if not is_own_page(request.headers.get("Origin"), request.host, self.host):
            raise web.HTTPForbidden(text="only a page of this server may open the app")
        return await super().handle_websocket(request)

    async def on_startup(self, app: web.Application) -> None:
        """Says nothing yet: the port may be taken."""

    def serve(self, debug: bool = False) -> None:
        """Listens until Ctrl-C, and says where once it does."""
        web.run_app(
            self._make_app(),
            host=self.host,
            port=self.port,
            print=lambda *line: note(f"ltdd-tui is at {self.public_url}; Ctrl-C ends it, and runs go on"),
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )


def listen(command: str, host: str, port: int) -> None:
    """Serves until Ctrl-C; raises InputError where the address cannot be had."""
    shown_host = f"[{host}]" if ":" in host else host
    server = ScreenServer(
        command,
        host=host,
        port=port,
        title="ltdd-tui",
        public_url=f"http://{shown_host}:{port}",
        templates_path=Path(__file__).parent,
    )
    try:
        server.serve()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        what = "the port is taken" if taken else f"cannot listen there: {error.strerror}"
        raise InputError(what, f"{host}:{port}", f"{'--port' if taken else '--host'} names another one") from None
