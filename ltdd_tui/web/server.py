"""The web server: textual-serve with a page of our own, loaded from here alone, and a closer look at who asks."""

from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

from engine.run.errors import InputError
from ltdd_tui.consoles import note
from ltdd_tui.web.pages import is_own_page


class ScreenServer(Server):
    """Serves the app at `command` to browsers; pages of other sites may not speak with it."""

    def initialize_logging(self) -> None:
        """What goes wrong, to stderr; not every request."""
        logging.basicConfig(level=logging.WARNING, format="%(message)s")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Opens an app for a page of this server; refuses every other page."""
        if not is_own_page(request.headers.get("Origin"), request.host, self.host):
            raise web.HTTPForbidden(text="only a page of this server may open the app")
        return await super().handle_websocket(request)

    async def on_startup(self, app: web.Application) -> None:
        """Says where it listens."""
        note(f"ltdd-tui is at {self.public_url}; Ctrl-C ends it, and runs go on")


def listen(command: str, host: str, port: int) -> None:
    """Serves until Ctrl-C; raises InputError where the address cannot be had."""
    _try(host, port)
    shown_host = f"[{host}]" if ":" in host else host
    ScreenServer(
        command,
        host=host,
        port=port,
        title="ltdd-tui",
        public_url=f"http://{shown_host}:{port}",
        templates_path=Path(__file__).parent,
    ).serve()


def _try(host: str, port: int) -> None:
    """Before anything is said: the server itself tells where it is, and only then finds the port taken."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        what = "the port is taken" if taken else f"cannot listen there: {error.strerror}"
        raise InputError(what, f"{host}:{port}", f"{'--port' if taken else '--host'} names another one") from None
