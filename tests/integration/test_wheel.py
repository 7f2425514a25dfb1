"""The wheel alone is enough: built, installed elsewhere and run from another folder, it knows its presets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the wheel is built without network, by the hatchling of the extra `dev`")

ROOT = Path(__file__).parents[2]
FILES = {path.stem for path in (ROOT / "presets").rglob("*.yaml")}
# Those whose names begin with _ are only there to be extended; the folder sweeps/ holds no presets.
PRESETS = {path.stem for path in (ROOT / "presets").glob("*.yaml") if not path.name.startswith("_")}


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it but the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (wheel,) = folder.glob("ltdd_tui-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel), cwd=folder)
    return folder / "site"


def test_the_wheel_lists_every_preset_from_another_folder(site: Path, tmp_path: Path) -> None:
    origin = run("-c", "import engine, ltdd_tui; print(engine.__file__, ltdd_tui.__file__)", cwd=tmp_path, path=site)
    assert all(Path(file).is_relative_to(site) for file in origin.split())
    listing = run("-m", "ltdd_tui", "presets", "list", cwd=tmp_path, path=site)
    assert PRESETS, "the project ships presets"
    assert {name for name in PRESETS if name not in listing} == set()


def test_the_wheel_carries_types_and_presets_and_no_tests(site: Path) -> None:
    shipped = site / "engine" / "run" / "shipped_presets"
    assert {path.stem for path in shipped.rglob("*.yaml")} == FILES
    assert (site / "engine" / "py.typed").exists()
    assert (site / "ltdd_tui" / "py.typed").exists()
    assert (site / "ltdd_tui_start.py").exists() and "ltdd_tui_start" in (site / "bin" / "ltdd-tui").read_text()
    assert not (site / "tests").exists()
    assert sorted(path.name for path in site.glob("bin/*")) == ["ltdd-tui"]
