"""What is decided where nothing can be compiled."""

from __future__ import annotations

import subprocess
import sys

from engine import compiling
from engine.run.events import Warned
from tests.tiny_run import tiny_context, tiny_settings


def test_without_a_compiler_the_eager_form_is_used_and_a_warning_says_so(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compiling, "why_not_compile", lambda device: "no C++ compiler found")
    assert not compiling.compiles(context) and not compiling.compiles(context)
    assert [type(event) for event in events] == [Warned]
    assert "eager" in events[0].message and "no C++ compiler found" in events[0].message


def test_a_machine_whose_compiler_is_missing_is_recognized():
    script = "import torch; from engine.matching.student import why_not_compile as why; print(why(torch.device('cpu')))"
    environment = {"CXX": "/nowhere/c++", "PATH": "/nowhere", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert found.stdout.strip() not in ("", "None"), found.stderr[-2000:]
