"""`serve`: the same screen in a browser, one app a tab."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from engine.run.errors import InputError
from ltdd_tui.cli.options import Device, RunsDir
from ltdd_tui.cli.output import note
from ltdd_tui.runs import worker

# Which pages may open the app.


LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_own_page(origin: str | None, asked_host: str, host: str) -> bool:
    """Whether a request comes from the page that this server gave out.

    A browser lets any page open a websocket to this machine and says in `Origin` which page it is. Behind a foreign
    name that was made to point here, `Origin` and `Host` agree: so on a loopback address only its own names count.
    """
    if origin is None or urlsplit(origin).netloc != asked_host:
        return False
    return host not in LOOPBACK_NAMES or urlsplit(f"//{asked_host}").hostname in LOOPBACK_NAMES


COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "ltdd_tui")


def serve(
    runs_dir: RunsDir,
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="the port to listen on")] = 8000,
    device: Device = "auto",
) -> None:
    """Show the screen in a browser (extra `serve`), to this machine alone unless --host says otherwise."""
    try:
        from ltdd_tui.cli.web_server import listen
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed, and a browser needs it", hint="pip install 'ltdd-tui[serve]'"
        ) from None
    if host not in LOOPBACK_NAMES:
        note(f"warning: there is no login: whoever reaches {host}:{port} can start, stop and delete runs here")
    # The app finds this very program again, whatever lies in the folder that it is started in.
    os.environ.update(worker.environment())
    listen(shlex.join([*COMMAND, "--runs-dir", str(runs_dir.absolute()), "--device", device]), host, port)
