"""The manifest says on what a run was made, and keeps the time of its first worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from engine import manifest
from engine.__main__ import main
from engine.manifest import write_manifest
from engine.resume import refuse_changed_settings
from engine.run.device_profiles import device_for
from engine.run.errors import InputError
from engine.run.estimate import estimate_for_manifest
from engine.run.event_log import EventLog
from engine.run.events import Event, RunStarted, Warned
from engine.run.folder import RunFolder, write_atomically
from engine.run.manifest import change_manifest, read_manifest
from engine.run.presets import DeletedSettingWarning, dump, load_preset
from engine.run.settings import settings_hash
from tests.engine.tiny_run import CPU, tiny_context, tiny_settings


def test_it_names_settings_code_versions_and_device(tmp_path: Path) -> None:
    folder, settings = RunFolder(tmp_path), tiny_settings(seed=7)
    write_manifest(folder, settings, CPU)
    written = json.loads(folder.manifest.read_text())
    assert written["settings_hash"] == settings_hash(settings)
    assert (written["seed"], written["device"]) == (7, "cpu")
    assert written["versions"]["torch"] == torch.__version__
    assert written["threads"] == torch.get_num_threads()
    assert "commit" in written


def test_a_resumed_run_keeps_the_time_it_was_created(tmp_path: Path) -> None:
    folder, settings = RunFolder(tmp_path), tiny_settings()
    folder.manifest.write_text('{"created": "2020-01-01T00:00:00+00:00", "argv": []}')
    write_manifest(folder, settings, CPU)
    written = json.loads(folder.manifest.read_text())
    assert written["created"] == "2020-01-01T00:00:00+00:00"
    assert written["updated"] > written["created"]


def test_the_estimate_of_the_first_worker_stays(tmp_path: Path) -> None:
    folder, settings = RunFolder(tmp_path), tiny_settings()
    promised = estimate_for_manifest(settings, device_for("cpu"))
    assert promised is not None
    write_manifest(folder, settings, CPU, lambda: promised)
    written = json.loads(folder.manifest.read_text())["estimate"]
    assert written["total_seconds"] == pytest.approx(sum(written["stage_seconds"].values()))
    assert min(written["memory_gib"], written["disk_gib"]) > 0
    folder.manifest.write_text(json.dumps({"estimate": {"total_seconds": 1}}))
    write_manifest(folder, settings, CPU, lambda: pytest.fail("a resumed run needs no estimate"))
    assert json.loads(folder.manifest.read_text())["estimate"] == {"total_seconds": 1}


def test_a_damaged_manifest_is_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.manifest.write_text('{"created":')
    write_manifest(folder, tiny_settings(), CPU)
    assert json.loads(folder.manifest.read_text())["created"]


@pytest.mark.parametrize("lost", [False, True])
def test_that_a_damaged_or_lost_manifest_named_other_workers_stays_told(tmp_path: Path, lost: bool) -> None:
    folder = RunFolder(tmp_path)
    write_manifest(folder, tiny_settings(), CPU)
    folder.checkpoint.mkdir()
    if lost:
        folder.manifest.unlink()
    else:
        folder.manifest.write_bytes(folder.manifest.read_bytes().replace(b"cpu", b"cpv"))
    for _ in range(2):
        write_manifest(folder, tiny_settings(), CPU)
        assert [told for told in read_manifest(folder).mixture() if "manifest.json was lost or damaged" in told]


def test_another_repository_around_an_installed_package_is_not_taken_for_ours(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(manifest, "_CODE", tmp_path / "site-packages")
    assert manifest.commit() is None


def test_a_run_of_an_older_version_is_resumed_although_a_setting_was_deleted_since(tmp_path):
    folder = RunFolder(tmp_path / "run")
    older = tiny_settings().model_dump(mode="json")
    older["matching"] |= {"compile": "never", "keep_gib": 0.0}
    folder.checkpoint.mkdir(parents=True)
    folder.config.write_text(yaml.safe_dump(older))
    folder.manifest.write_text(json.dumps({"settings_hash": settings_hash(older)}))
    with pytest.warns(DeletedSettingWarning):
        refuse_changed_settings(folder, load_preset(str(folder.config)))
    folder.config.write_text(yaml.safe_dump(older | {"seed": 1}))
    with pytest.warns(DeletedSettingWarning), pytest.raises(InputError):
        refuse_changed_settings(folder, load_preset(str(folder.config)))


def test_a_worker_warns_of_a_deleted_setting_in_the_settings_of_its_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    folder.config.write_text(f"dataset: {{name: folder, path: {tmp_path / 'missing'}}}\nmatching: {{keep_gib: 0}}\n")
    assert main(["run", str(folder.root), "--device", "cpu"]) == 2
    events = [json.loads(line) for line in folder.events.read_text().splitlines()]
    warned, started, *_ = [event["type"] for event in events]
    assert (warned, started) == ("warned", "run_started")
    assert "matching.keep_gib is no longer a setting" in events[0]["message"]


def test_a_run_whose_settings_were_changed_is_not_resumed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    write_manifest(folder, tiny_settings(), CPU)
    refuse_changed_settings(folder, tiny_settings("datm"))  # nothing was done yet, so nothing is lost
    folder.checkpoint.mkdir()
    refuse_changed_settings(folder, tiny_settings())
    with pytest.raises(InputError, match="settings were changed since the run began"):
        refuse_changed_settings(folder, tiny_settings("datm"))


def test_what_is_cached_of_another_origin_is_told_once_and_refused_where_the_same_bytes_are_promised(
    tmp_path: Path,
) -> None:
    events = list[Event]()
    context = tiny_context(tmp_path, tiny_settings(), events)
    write_manifest(context.folder, context.settings, CPU)
    here = manifest.origin_here(CPU, compiled=False)
    manifest.check_cached(context, "experts", [here, here], here)
    assert events == []
    other = here.model_copy(update={"threads": 99})
    manifest.check_cached(context, "experts", [here, other, other, None], here)
    (told,) = events
    threads = f"threads 99 (here {here.threads})"
    how = f"3 of 4 are of another origin: {threads}; or not known"
    assert isinstance(told, Warned) and told.message == f"experts from the cache: {how}"
    assert list(read_manifest(context.folder).mixture()) == [f"experts: {how}"]
    change_manifest(context.folder, same_bytes=True)
    write_manifest(context.folder, context.settings, CPU)
    with pytest.raises(InputError, match="--same-bytes: experts from the cache: 1 of 1 are of another origin"):
        manifest.check_cached(context, "experts", [other], here)


def test_each_worker_is_added_and_one_of_another_origin_is_told(tmp_path: Path) -> None:
    events = list[Event]()
    context = tiny_context(tmp_path, tiny_settings(), events)
    context.folder.checkpoint.mkdir()
    for _ in range(2):
        write_manifest(context.folder, context.settings, CPU)
        manifest.check_workers(context)
        manifest.record_worker(context)
    workers = read_manifest(context.folder).workers
    assert len(workers) == 2 and workers[0].host and not events
    change_manifest(context.folder, workers=[workers[0].model_copy(update={"threads": 99})])
    write_manifest(context.folder, context.settings, CPU)
    manifest.check_workers(context)
    (told,) = events
    assert isinstance(told, Warned) and "worker of this run was of another origin: threads 99" in told.message
    change_manifest(context.folder, same_bytes=True)
    with pytest.raises(InputError, match="--same-bytes"):
        manifest.check_workers(context)
    # A run that begins anew was made by nobody yet.
    context.folder.checkpoint.rmdir()
    write_manifest(context.folder, context.settings, CPU)
    assert read_manifest(context.folder).workers == []


def test_a_finished_run_with_edited_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    folder, settings, edited = RunFolder(tmp_path), tiny_settings(), tiny_settings(seed=1)
    write_atomically(folder.distilled, b"")
    write_manifest(folder, settings, CPU)
    refuse_changed_settings(folder, settings)
    folder.config.write_text(dump(edited))
    for lost in (False, True):  # the events know the hash too
        with pytest.raises(InputError, match="the settings were changed since the run began"):
            refuse_changed_settings(folder, edited)
        with EventLog(folder.events) as log:
            hash_of = settings_hash(settings)
            log.emit(RunStarted("r", "ltdd", "digits", 50.0, 1, 0, "convnet", "cpu", [], 4, hash_of, 1))
        folder.manifest.unlink(missing_ok=lost)
