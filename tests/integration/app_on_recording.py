"""`ltdd-tui` with recorded_worker.py in place of the engine, also in the apps that `serve` starts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ltdd_tui.cli import serve
from ltdd_tui.cli.main import main
from ltdd_tui.runs import worker

worker.COMMAND = (sys.executable, str(Path(__file__).with_name("recorded_worker.py")))
serve.COMMAND = (sys.executable, __file__)

if __name__ == "__main__":
    main()
