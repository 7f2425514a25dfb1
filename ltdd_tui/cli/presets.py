"""`presets` and `estimate`: which experiments there are, what they say and what they cost, before anything starts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from engine.run.device_profiles import Device as DeviceProfile
from engine.run.errors import FAULTS_SHOWN, Fault, escaped, listed
from engine.run.estimate import estimate_or_none, estimate_remaining
from engine.run.expert_cache import CachedExperts
from engine.run.presets import dump, extending, list_presets, load_preset, save_preset
from engine.run.settings import RunSettings
from engine.run.validation import check_runnable, data_faults
from engine.sweep.grid import is_sweep
from ltdd_tui.cli.options import AsJson, Device, Overrides, PresetName
from ltdd_tui.cli.output import estimate_table, preset_table, print_data, print_json, print_note, print_text
from ltdd_tui.cli.sweep import estimate_sweep
from ltdd_tui.launch import machine
from ltdd_tui.launch.create import with_absolute_path

app = typer.Typer(help="List, show, check and save presets.", no_args_is_help=True)


@app.command("list")
def list_all(as_json: AsJson = False, device: Device = "auto") -> None:
    """List all presets: cell, method, published figure, estimated time and memory."""
    profile = machine.device_here(device)
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
            "estimate": machine.as_plain(estimate_or_none(settings, profile), profile),
        }
        for preset in presets
        for settings in [preset.settings]
    ]
    if as_json:
        print_json(rows)
    else:
        print_data(preset_table(rows))
        print_note(f"times are estimates for {profile.name}; --device cpu or cuda asks for another")
    for fault in faults:
        print_note(str(fault))


@app.command("show")
def show_preset(preset: PresetName, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a preset with every setting resolved, as YAML that `run` takes."""
    settings = load_preset(preset, overrides or [])
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        print_text(dump(settings).rstrip("\n"))


@app.command("check")
def check(preset: PresetName, overrides: Overrides = None) -> None:
    """Check a preset or a file: print every fault with its file and key, and exit with 2."""
    settings = load_preset(preset, overrides or [])
    print_note(f"{preset}: no faults")
    # The preset is right, but this machine may lack something, such as the images.
    _print_what_is_missing(settings)


def _print_what_is_missing(settings: RunSettings) -> None:
    """Prints what a dry run of these settings would refuse on this machine, and what it would say of the data."""
    faults, notes = check_runnable(settings), tuple[str, ...]()
    if not faults:
        faults, notes = data_faults(settings.dataset, open_images=True)
    for note in notes:
        print_note(escaped(note))
    more = [Fault(f"{len(faults) - FAULTS_SHOWN:,} more like these")] if len(faults) > FAULTS_SHOWN else []
    for fault in [*faults[:FAULTS_SHOWN], *more]:
        what = escaped(f"{fault.where}: {fault.what}" if fault.where else fault.what)
        print_note(
            f"not runnable on this machine yet: {what}" + (f"\nhint: {escaped(fault.hint)}" if fault.hint else "")
        )


@app.command("save")
def save(
    preset: PresetName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the new preset's name")],
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a preset of this name")] = False,
) -> None:
    """Save a preset of your own: it extends another one and holds what it changes."""
    settings = with_absolute_path(load_preset(preset, overrides or []))
    print_text(str(save_preset(name, extending(settings, preset, name), overwrite)))


def estimate(
    preset: PresetName,
    overrides: Overrides = None,
    device: Device = "auto",
    as_json: AsJson = False,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="measure this machine again, or never; by default it is measured once",
        ),
    ] = None,
) -> None:
    """Estimate time, memory and disk of a preset, stage by stage, or of a sweep; measures this machine once, for ten
    seconds."""
    if is_sweep(preset):
        estimate_sweep(preset, overrides or [], device, as_json)
        return
    settings = load_preset(preset, overrides or [])
    profile = machine.device_here(device)
    remaining, cached = estimate_remaining(settings, profile)
    if calibrate is None:
        calibrate = machine.calibration_lacks(settings, device)
    # Without data there is no cost to measure for.
    if remaining and calibrate:
        print_note("measuring this machine for estimates, once: about ten seconds, twice that where steps are compiled")
        if machine.calibrate(settings, device):
            profile = machine.device_here(device)
            remaining, cached = estimate_remaining(settings, profile)
        else:
            print_note("this machine could not be measured")
    if as_json:
        print_json(machine.as_plain(remaining, profile))
    elif remaining:
        print_data(estimate_table(remaining, profile.name))
        _print_basis(profile, cached, settings.experts.num_experts)
    else:
        print_note(machine.UNKNOWN_COST)
    if settings.dataset.path is not None and not as_json:
        _print_what_is_missing(settings)


def _print_basis(profile: DeviceProfile, cached: CachedExperts, num_experts: int) -> None:
    """Prints what an estimate is based on and what it leaves out."""
    if any(cached):
        print_note(
            f"cached already, of {num_experts}: {cached.representation} experts, {cached.classifier} classifier experts"
        )
    if profile.calibrated:
        print_note(f"from steps timed on this machine at {profile.calibrated}; --calibrate times them again")
    else:
        print_note("rough: nothing was timed on this machine; --calibrate does, in about ten seconds")
    if profile.busy:
        what = "so times may be too long"
        if profile.scaled:
            what = f"so no rate fitted the times of {listed(profile.scaled)}: built-in rates are scaled to them"
        print_note(f"other programs were running meanwhile, {what}")
