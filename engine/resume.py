"""Whether a run may go on: with the settings (manifest.json) and the images (data.json) that it began with.

The checkpoint, the baselines, the experts and every figure of a run are of one set of images. With other images a
resumed run, or a finished one that is evaluated again, would mix figures of both without a word.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator

from engine.context import Context
from engine.data.dataset import LongTailedData, load_long_tailed
from engine.run.errors import InputError, escaped, listed
from engine.run.event_log import told_since_start
from engine.run.events import DataReady, Event, RunStarted
from engine.run.folder import RunFolder, expanded, read_typed, write_atomically, write_json
from engine.run.manifest import DataRecord, read_manifest, settings_changed
from engine.run.settings import RunSettings

OTHER_PIXELS = "same counts, other pixels"


def refuse_changed_settings(folder: RunFolder, settings: RunSettings) -> None:
    """Raises InputError where config.yaml is not what the run began with and something was made with that."""
    if settings_changed(folder, settings, read_manifest(folder).settings_hash or _hash_in_events(folder)):
        hint = "put them back, or start a new run from this file: `ltdd-tui run FILE --name ANOTHER`"
        raise InputError("the settings were changed since the run began", str(folder.config), hint)


def _hash_in_events(folder: RunFolder) -> str:
    """The hash of the settings that the run began with, where its manifest is lost; empty if not known."""
    started = told_since_start(folder.events, RunStarted)
    return started[0].settings_hash if started else ""


def load_run_data(context: Context) -> LongTailedData:
    """The long-tailed data that the settings ask for; emits DataReady, and Warned only when the run begins.

    Raises InputError, before anything is emitted, where it is not the data that the run began with.
    """
    settings, folder, told = context.settings, context.folder, list[Event]()
    partition, validation = settings.initialize.partition, settings.validation
    data = load_long_tailed(settings.dataset, settings.ipc, context.device, told.append, partition, validation)
    now = DataRecord(
        class_names=data.class_names,
        train_counts=data.class_counts,
        test_images=len(data.test_labels),
        test_counts=data.test_counts,
        fingerprint=data.fingerprint,
    )
    before = _began_with(folder)
    if before is not None and (changes := list(_changes(before, now))):
        hint = "put the images (and the settings of dataset) back as they were, or start a new run"
        if _tail_is_rounded_otherwise(before, now) and settings.dataset.imbalance_factor != "natural":
            hint += "; or it began with another version of ltdd-tui, which counted the tail otherwise and can resume it"
        if changes == [OTHER_PIXELS]:
            hint += "; another machine or version of Pillow may decode a file differently"
        what = f"the data has changed since the run began: {listed(changes, separator='; ')}"
        raise InputError(what, settings.dataset.path or settings.dataset.name, hint)
    recorded = before is not None and before.fingerprint != ""
    # Only now: a refused worker must not leave events of other data in the run.
    for event in told:
        if isinstance(event, DataReady) or not recorded:
            context.emit(event)
    if not recorded:
        if data.held_out_files:  # before data.json, which says that nothing is left to write
            home = expanded(settings.dataset.path or "").absolute()
            names = (escaped(os.path.relpath(file, home)) for file in data.held_out_files)
            write_atomically(folder.held_out, "".join(f"{name}\n" for name in names))
        write_json(folder.data, now.model_dump(), sealed=True)
    return data


def _tail_is_rounded_otherwise(before: DataRecord, now: DataRecord) -> bool:
    """Whether some classes have one train image more and all else is equal.

    So it is where a version before FLOAT_ERROR (engine/run/datasets.py) took one image too few.
    """
    if before.class_names != now.class_names or before.test_images != now.test_images:
        return False
    more = [new - old for old, new in zip(before.train_counts, now.train_counts, strict=True)]
    return set(more) == {0, 1} and before.test_counts in ([], now.test_counts)


def _began_with(folder: RunFolder) -> DataRecord | None:
    """What the run began with; None where nothing is done yet that other data could spoil."""
    if not (folder.checkpoint.exists() or folder.distilled.exists()):
        return None
    return read_typed(folder.data, DataRecord) or _from_events(folder)


def _from_events(folder: RunFolder) -> DataRecord | None:
    """What the first DataReady since the run last began anew says: older versions wrote no data.json."""
    ready = told_since_start(folder.events, DataReady)
    if not ready:
        return None
    first = ready[0]
    # Older versions kept the names as the file system stores them.
    names = [unicodedata.normalize("NFC", name) for name in first.class_names]
    return DataRecord(class_names=names, train_counts=first.class_counts, test_images=first.test_images)


def _changes(before: DataRecord, now: DataRecord) -> Iterator[str]:
    """What differs, in words; nothing where it is the same data, as far as is known."""
    yield from (f"class {name} is new" for name in now.class_names if name not in before.class_names)
    yield from (f"class {name} is gone" for name in before.class_names if name not in now.class_names)
    counts_changed = False
    for split, old, new in (
        ("train", before.train_counts, now.train_counts),
        ("test", before.test_counts, now.test_counts),
    ):
        was = dict(zip(before.class_names, old, strict=False))
        for name, count in zip(now.class_names, new, strict=True):
            if name in was and was[name] != count:
                counts_changed = True
                yield f"{split}/{name}: {count}, was {was[name]}"
    if counts_changed or set(before.class_names) != set(now.class_names):
        return
    if before.class_names != now.class_names:
        yield "the classes have another order"
    elif before.test_images != now.test_images:
        yield f"test: {now.test_images} images, was {before.test_images}"
    elif before.fingerprint and before.fingerprint != now.fingerprint:
        yield OTHER_PIXELS
