"""What is decided where nothing can be compiled."""

from __future__ import annotations

import subprocess
import sys

from engine import compilation
from engine.nets.norm_pool_cpp import CannotBuild
from engine.run.events import Warned
from tests.engine.tiny_run import tiny_context, tiny_settings


def test_without_a_compiler_the_eager_form_is_used_and_a_warning_says_so(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compilation, "why_not_compile", lambda device: "no C++ compiler found")
    assert not compilation.compiles(context) and not compilation.compiles(context)
    assert [type(event) for event in events] == [Warned]
    assert "eager" in events[0].message and "no C++ compiler found" in events[0].message


def test_a_library_built_without_fast_flags_gives_a_warning(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compilation, "why_not_build", lambda: None)
    monkeypatch.setattr(compilation, "missing_flags", lambda: ("-fopenmp",))
    assert compilation.builds(context) and compilation.builds(context)
    assert [type(event) for event in events] == [Warned] and "without -fopenmp" in events[0].message


def test_a_cache_that_cannot_be_written_keeps_its_own_hint(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compilation, "why_not_build", lambda: CannotBuild("full", "make room"))
    assert not compilation.builds(context)
    assert (events[0].message.rpartition(": ")[2], events[0].hint) == ("full", "make room")


def test_a_machine_whose_compiler_is_missing_is_recognized():
    script = "import torch; from engine.compilation import why_not_compile as why; print(why(torch.device('cpu')))"
    environment = {"CXX": "/nowhere/c++", "PATH": "/nowhere", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.strip() not in ("", "None"), done.stderr[-2000:]
