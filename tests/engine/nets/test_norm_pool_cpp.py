"""The C++ norm and pooling: equal to the formulas, built once, and with a reason where it cannot be built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.nets import norm_pool_cpp as building_module
from engine.nets.norm_pool import eager_norm_pool
from engine.nets.norm_pool_cpp import CannotBuild, build, cpp_norm_pool, why_not_build
from engine.run.compile_policy import built_libraries, cpp_flags, has_compiler, library_path

ASK = "from engine.nets.norm_pool_cpp import why_not_build; print(why_not_build())"


def _differences(dtype: torch.dtype, side: int, channels: int) -> list[float]:
    """The largest difference of each of the functions' outputs, relative to the largest entry."""
    draw = torch.Generator().manual_seed(0)
    sums = torch.float64 if dtype == torch.float64 else torch.float32

    def random(*shape: int, like: torch.dtype = sums) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).to(like)

    z, d_z = (random(3, side, side, channels, like=dtype) for _ in range(2))
    g, d_g = (random(3, side // 2, side // 2, channels, like=dtype) for _ in range(2))
    scale, shift, d_scale, d_shift = (random(channels) for _ in range(4))
    outputs = []
    for form in (eager_norm_pool(), cpp_norm_pool()):
        saved, pooled = form.forward(z, scale, shift)
        saved_tangent, d_pooled = form.forward_jvp(saved, scale, shift, d_scale, d_shift, d_z)
        back = form.backward(saved, scale, shift, g)
        moved = form.backward_jvp(saved, saved_tangent, scale, shift, d_scale, g, d_g)
        outputs.append([*saved[1:], pooled, *saved_tangent[1:], d_pooled, *back, *moved])
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(*outputs, strict=True)]


needs_cpp = pytest.mark.skipif(why_not_build() is not None, reason=f"nothing can be built here: {why_not_build()}")


@needs_cpp
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 2e-5), (torch.bfloat16, 1e-2)], ids=str
)
@pytest.mark.parametrize(("side", "channels"), [(8, 32), (7, 5), (2, 1), (32, 19)])
def test_cpp_equals_the_formulas(dtype: torch.dtype, bound: float, side: int, channels: int) -> None:
    assert max(_differences(dtype, side, channels)) < bound


def test_without_a_compiler_the_reason_says_so(tmp_path) -> None:
    environment = {"PATH": "/nowhere", "LTDD_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "no C++ compiler found", done.stderr[-2000:]


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'c++: fatal error: no stdlib' >&2\nexit 1\n")
    compiler.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LTDD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=environment, timeout=60)
    assert "no stdlib" in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / "cache" / "native").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "it wrote no library"),
        ("test $1 = --version && exit\nwhile test $1 != -o; do shift; done; echo garbage > $2", "file too short"),
        ("printf 'b\\351' >&2; exit 1", "quick-c++: b\ufffd"),
    ],
    ids=["nothing", "garbage", "latin-1"],
)
def test_a_compiler_that_is_none_is_a_reason_and_no_traceback(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "quick-c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(CannotBuild) as refused:
        build()
    assert says in str(refused.value)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A compiler of no time: it gives what the real one built, and refuses the flags that it is told to refuse."""
    ready = built_libraries()[0]
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    script, calls = tmp_path / "quick-c++", tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("CXX", str(script))

    def refusing(*flags: str) -> Path:
        refused = "|".join(f"*{flag}*" for flag in flags) or "nothing"
        script.write_text(
            f"""#!/bin/sh
test "$1" = --version && echo quick && exit
echo "$*" >> {calls}
case "$*" in {refused}) echo "error: unsupported option" >&2; exit 1;; esac
while test "$1" != -o; do shift; done
cp {ready} "$2"
"""
        )
        script.chmod(0o755)
        return calls

    return refusing


@needs_cpp
def test_flags_that_a_compiler_refuses_are_reported_and_tried_again(compiler) -> None:
    calls = compiler("-fopenmp")
    assert "-fopenmp" in build().missing_flags and len(built_libraries()) == 1
    tries = len(calls.read_text().splitlines())
    assert "-fopenmp" in build().missing_flags and len(calls.read_text().splitlines()) == 2 * tries - 1
    compiler()
    assert build().missing_flags == () and len(built_libraries()) == 2
    assert build().missing_flags == () and len(calls.read_text().splitlines()) == 2 * tries


def flipped(content: bytes) -> bytes:
    return content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:]


@needs_cpp
@pytest.mark.parametrize(
    "damage", [lambda whole: b"", lambda whole: whole[:-5000], flipped], ids=["empty", "cut", "flipped"]
)
def test_a_damaged_library_is_not_loaded_and_built_again(compiler, damage: Callable[[bytes], bytes]) -> None:
    calls = compiler()
    path = library_path("quick\n", next(iter(cpp_flags())))
    assert build().replaced is None
    whole = path.read_bytes()
    path.unlink()  # this process has it loaded
    path.write_bytes(damage(whole))
    assert build().replaced == path and path.read_bytes() == whole
    assert build().replaced is None and len(calls.read_text().splitlines()) == 2
    (path.with_name(f"{path.name}.sha256")).unlink()  # as of an older version
    assert build().replaced is None and len(calls.read_text().splitlines()) == 3


@needs_cpp
@pytest.mark.parametrize("which", ["folder", "library", "digest"])
def test_a_library_that_others_can_write_is_not_loaded(compiler, which: str) -> None:
    calls = compiler()
    build()
    path = library_path("quick\n", next(iter(cpp_flags())))
    {"folder": path.parent, "library": path, "digest": path.with_name(f"{path.name}.sha256")}[which].chmod(0o777)
    assert build().replaced == path and len(calls.read_text().splitlines()) == 2
    assert path.parent.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o700
    build()
    assert len(calls.read_text().splitlines()) == 2


@needs_cpp
def test_in_the_cache_of_another_user_nothing_is_loaded_or_written(compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = compiler()
    build()
    path, user = library_path("quick\n", next(iter(cpp_flags()))), os.geteuid()
    path.unlink()
    path.write_bytes(b"of that user")
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert build().library.forward_float32 and path.read_bytes() == b"of that user"
    assert len(calls.read_text().splitlines()) == 2


@needs_cpp
def test_what_was_built_is_used_where_no_compiler_is_left(compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler()
    build()
    for without in (lambda: None, lambda: "/nowhere/c++"):
        monkeypatch.setattr("engine.run.compile_policy.cpp_compiler", without)
        monkeypatch.setattr(building_module, "cpp_compiler", without)
        assert build().library.forward_float32 and has_compiler("cpp", "cpu")
    built_libraries()[0].unlink()
    monkeypatch.setattr("engine.run.compile_policy.cpp_compiler", lambda: None)
    assert not has_compiler("cpp", "cpu")


@needs_cpp
def test_the_hint_is_by_the_cause(compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler("-shared")
    with pytest.raises(CannotBuild, match="unsupported option") as refused:
        build()
    assert "install a C++ compiler" in refused.value.hint
    compiler()
    monkeypatch.setattr(building_module, "_is_noexec", lambda folder: True)
    monkeypatch.setattr(building_module.ctypes, "CDLL", lambda path: (_ for _ in ()).throw(OSError("cannot map")))
    with pytest.raises(CannotBuild, match="noexec") as mounted:
        build()
    assert "another file system" in mounted.value.hint
    (tmp_path / "file").touch()
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "file"))
    with pytest.raises(CannotBuild, match="cannot be written") as unwritable:
        build()
    assert "LTDD_CACHE" in unwritable.value.hint
