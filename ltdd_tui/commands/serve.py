"""`serve`: the same screen in a browser, one app a tab."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from engine.run.errors import InputError
from ltdd_tui import worker
from ltdd_tui.consoles import note
from ltdd_tui.options import Device, RunsDir
from ltdd_tui.web.pages import LOOPBACK_NAMES

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "ltdd_tui")


def serve(
    runs_dir: RunsDir,
    host: Annotated[str, typer.Option("--host", help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="the port to listen on")] = 8000,
    device: Device = "auto",
) -> None:
    """Show the screen in a browser (extra `serve`), to this machine alone unless --host says otherwise."""
    try:
        from ltdd_tui.web.server import listen
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed, and a browser needs it", hint="pip install 'ltdd-tui[serve]'"
        ) from None
    if host not in LOOPBACK_NAMES:
        note(f"warning: there is no login: whoever reaches {host}:{port} can start, stop and delete runs here")
    # The app finds this very program again, whatever lies in the folder that it is started in.
    os.environ.update(worker.environment())
    listen(shlex.join([*COMMAND, "--runs-dir", str(runs_dir.absolute()), "--device", device]), host, port)
