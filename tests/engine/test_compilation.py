"""What is decided where nothing can be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import compilation
from engine.nets.norm_pool_cpp import BuiltLibrary, CannotBuild
from engine.run.events import Warned
from tests.engine.tiny_run import tiny_context, tiny_settings


def test_without_a_compiler_the_eager_form_is_used_and_a_warning_says_so(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compilation, "why_not_compile", lambda device: "no C++ compiler found")
    assert not compilation.compiles(context) and not compilation.compiles(context)
    assert [type(event) for event in events] == [Warned]
    assert "eager" in events[0].message and "no C++ compiler found" in events[0].message


def test_a_library_that_was_damaged_or_is_built_without_fast_flags_gives_a_warning(tmp_path, monkeypatch):
    events = []
    context = tiny_context(tmp_path / "run", tiny_settings(), events)
    monkeypatch.setattr(compilation, "why_not_build", lambda: None)
    monkeypatch.setattr(compilation, "built_once", lambda: BuiltLibrary(None, ("-fopenmp",), Path("old.so")))
    assert compilation.builds(context) and compilation.builds(context)
    assert [type(event) for event in events] == [Warned, Warned]
    assert "old.so was damaged" in events[0].message and "without -fopenmp" in events[1].message


@pytest.mark.parametrize("mode", [None, 0o700, 0o777])
def test_torch_keeps_its_kernels_where_nobody_else_can_write(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(compilation.torch, "compile", lambda function: function)
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path))
    if mode is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch").chmod(mode)
    assert compilation.why_not_compile("cpu") is None
    used = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert used.stat().st_mode & 0o777 == 0o700 and (used == tmp_path / "torch") == (mode != 0o777)


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
