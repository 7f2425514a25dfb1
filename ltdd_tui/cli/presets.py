"""`presets` and `estimate`: which experiments there are, what they say and what they cost, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltdd_tui.cli.options import AsJson, Device, Overrides, PresetName
from ltdd_tui.cli.output import note, show, show_json

if TYPE_CHECKING:
    from engine.run.device_profiles import Device as HereDevice
    from engine.run.expert_cache import CachedExperts
    from engine.run.settings import RunSettings

app = typer.Typer(help="List, show, check and save presets.", no_args_is_help=True)


@app.command("list")
def list_all(as_json: AsJson = False, device: Device = "auto") -> None:
    """List all presets: cell, method, published figure, estimated time and memory."""
    from engine.run.estimate import cost
    from engine.run.presets import list_presets
    from ltdd_tui.cli.output import preset_table
    from ltdd_tui.launch.machine import as_plain, device_here

    here = device_here(device)
    presets, faults = list_presets()
    rows: list[dict[str, Any]] = [
        {
            "name": preset.name,
            "origin": preset.origin,
            "path": str(preset.path),
            "dataset": settings.dataset.name,
            "imbalance_factor": settings.dataset.imbalance_factor,
            "ipc": settings.ipc,
            "method": settings.method,
            "expected": settings.expected and settings.expected.accuracy,
            "source": settings.expected and settings.expected.source,
            "estimate": as_plain(cost(settings, here), here),
        }
        for preset in presets
        for settings in [preset.settings]
    ]
    if as_json:
        show_json(rows)
    else:
        show(preset_table(rows))
        note(f"times are estimates for {here.name}; --device cpu or cuda asks for another")
    for fault in faults:
        note(str(fault))


@app.command("show")
def show_preset(preset: PresetName, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a preset with every setting resolved, as YAML that `run` takes."""
    from engine.run.presets import dump, load_preset

    settings = load_preset(preset, overrides or [])
    if as_json:
        show_json(settings.model_dump(mode="json"))
    else:
        print(dump(settings), end="")


@app.command("check")
def check(preset: PresetName, overrides: Overrides = None) -> None:
    """Check a preset or a file: every fault at once with file and key, exit code 2."""
    from engine.run.presets import load_preset
    from engine.run.validation import check_runnable

    lacking = check_runnable(load_preset(preset, overrides or []))
    note(f"{preset}: no faults")
    for fault in lacking:
        note(f"before it runs here, {fault.where}: {fault.what}\nhint: {fault.hint}")


@app.command("save")
def save(
    preset: PresetName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the new preset's name")],
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace one of this name")] = False,
) -> None:
    """Save a preset of your own: what it changes in another one, which it extends."""
    from engine.run.presets import extending, load_preset, save_preset
    from ltdd_tui.launch.create import with_absolute_path

    settings = with_absolute_path(load_preset(preset, overrides or []))
    print(save_preset(name, extending(settings, preset, name), overwrite))


def estimate(
    preset: PresetName,
    overrides: Overrides = None,
    device: Device = "auto",
    as_json: AsJson = False,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="measure this machine anew, or not even where it never was; else it is measured once",
        ),
    ] = None,
) -> None:
    """Estimate time, memory and disk of a preset, stage by stage, from ten seconds of measuring, once a machine."""
    from engine.run.estimate import remaining_cost
    from engine.run.presets import load_preset
    from ltdd_tui.cli.output import estimate_table
    from ltdd_tui.launch.machine import UNKNOWN_COST, as_plain, device_here

    settings = load_preset(preset, overrides or [])
    here = device_here(device)
    found, cached = remaining_cost(settings, here)
    if found and _measured(settings, device, calibrate):
        here = device_here(device)
        found, cached = remaining_cost(settings, here)
    if as_json:
        show_json(as_plain(found, here))
    elif found:
        show(estimate_table(found, here.name))
        _tell(here, cached, settings.experts.num_experts)
    else:
        note(UNKNOWN_COST)


def _measured(settings: RunSettings, device: str, asked: bool | None) -> bool:
    """Calibrates where it was asked for, or where an estimate would have to guess and nobody minds."""
    from ltdd_tui.launch.machine import calibrate, calibration_lacks

    if asked is False or not (asked or calibration_lacks(settings, device)):
        return False
    note("measuring this machine for estimates, once: about ten seconds, twice that where steps are compiled")
    if not calibrate(settings, device):
        note("it could not be measured")
        return False
    return True


def _tell(here: HereDevice, cached: CachedExperts, experts: int) -> None:
    """Where the figures come from, and what they leave out."""
    if any(cached):
        note(f"cached already, of {experts}: {cached.representation} experts, {cached.classifier} classifier experts")
    if here.calibrated:
        note(f"from steps timed on this machine at {here.calibrated}; --calibrate times them again")
    else:
        note("rough: nothing was timed on this machine; --calibrate does, in about ten seconds")
    if here.busy:
        note("other programs were at work meanwhile, so times may be too long")
