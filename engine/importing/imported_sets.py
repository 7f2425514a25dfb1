"""A set made elsewhere in a run: its copy in the run's folder, and how its images become what networks see here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from engine.context import Context
from engine.data.dataset import LongTailedData
from engine.data.whitening import Whitening
from engine.distilled import METADATA_KEY, WHITENING_PREFIX
from engine.importing.set_files import ImportedSet, read_imported_set, unequal_counts
from engine.matching.synthetic import StartingSet
from engine.run.checksums import sealed_safetensors
from engine.run.errors import InputError, listed, short_number
from engine.run.events import Emit, Warned
from engine.run.expert_cache import ABOUT, ImportedExperts, experts_root
from engine.run.folder import RunFolder, expanded, folder_names, read_typed, verify_file, write_atomically
from engine.run.settings import RunSettings, StartSpace

LIKE_REAL_SPREAD, LIKE_REAL_MEAN = (1 / 1.5, 2.0), 1.0
"""Images are suspicious whose spread, as a multiple of real ones', lies outside, or whose mean is so many away.

Distilled images spread wider than real ones where their step size was large, but hardly less."""

# --- The copy in the run's folder, so that nothing outside of it is needed later --------------------------------------


def copy_imported_set(folder: RunFolder, settings: RunSettings) -> None:
    """Copies the set that the run starts from, if any, into its folder; may raise InputError as `read_imported_set`."""
    start_set = settings.initialize.start_set
    if start_set is None:
        return
    if folder.start_set.is_file() and load_imported_copy(folder).about.get("start_set") == start_set:
        return
    imported = read_imported_set(expanded(start_set))
    imported.about.update(start_set=start_set)
    tensors = {"images": imported.images}
    if imported.labels is not None:
        tensors["labels"] = imported.labels
    if imported.whitening is not None:
        tensors |= {WHITENING_PREFIX + name: value for name, value in imported.whitening.state().items()}
    about = {"learning_rate": imported.learning_rate, "space": imported.space, "about": imported.about}
    content = save(tensors, {METADATA_KEY: json.dumps(about, sort_keys=True)})
    write_atomically(folder.start_set, sealed_safetensors(content))


def load_imported_copy(folder: RunFolder) -> ImportedSet:
    """What `copy_imported_set` has copied."""
    try:
        verify_file(folder.start_set)
        with safe_open(folder.start_set, framework="pt") as file:
            about = json.loads(file.metadata()[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = {
            name.removeprefix(WHITENING_PREFIX): value
            for name, value in tensors.items()
            if name.startswith(WHITENING_PREFIX)
        }
        whitening = Whitening.from_state(state) if state else None
        return ImportedSet(tensors["images"], tensors.get("labels"), whitening=whitening, **about)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        hint = "delete it: it is copied from initialize.start_set again"
        raise InputError(f"the copy of the set is damaged: {error}", str(folder.start_set), hint) from None


def imported_sources(folder: RunFolder, settings: RunSettings) -> dict[str, Any]:
    """For the manifest: the sources, with hashes, of the set that a run starts from and of imported experts."""
    sources: dict[str, Any] = {}
    if settings.initialize.start_set is not None:
        about = load_imported_copy(folder).about
        sources["start_set"] = {key: about[key] for key in ("source", "form", "labels", "images_sha256")}
    if settings.experts.imported is not None:
        own = read_typed(experts_root() / settings.experts.imported / ABOUT, ImportedExperts)
        sources["experts"] = own and own.model_dump(include={"source", "sha256", "experts", "epochs"})
    return sources


# --- As this run needs it ---------------------------------------------------------------------------------------------


def load_starting_set(context: Context, data: LongTailedData) -> StartingSet | None:
    """The set that the run starts from in place of real images, if any; emits Warned for what it lacks.

    Raises InputError where it does not fit the run's data or IPC.
    """
    settings = context.settings
    if settings.initialize.start_set is None:
        return None
    copy_imported_set(context.folder, settings)
    return fit(load_imported_copy(context.folder), data, settings, context.emit)


def fit(imported: ImportedSet, data: LongTailedData, settings: RunSettings, emit: Emit) -> StartingSet:
    """The set, class by class and whitened as the run's images are; raises and emits as `load_starting_set`."""
    source = str(imported.about.get("source", "initialize.start_set"))
    if data.channels == 1 and bool((imported.images == imported.images[:, :1]).all()):
        # Files of gray images are decoded to three equal channels.
        imported = replace(imported, images=imported.images[:, :1])
    _refuse_other_shape(imported, data, source)
    partition, ours = imported.about.get("partition", 1), settings.initialize.partition
    if partition not in (1, ours):
        what = f"each image of the set holds {partition} mini-images a side, initialize.partition is {ours}"
        raise InputError(what, source, f"--set initialize.partition={partition}")
    images, logits = _by_class(imported, data, source)
    ipc = len(images) // data.num_classes
    if ipc != settings.ipc:
        what = f"the set has {ipc} images a class, ipc is {settings.ipc}"
        raise InputError(what, source, f"--set ipc={ipc}")
    if settings.initialize.labels == "stored" and logits is None:
        what = "initialize.labels is stored, and the set has no soft labels"
        raise InputError(what, source, "use class, or teacher")
    if logits is not None and len(logits) == len(images):
        # Whole images that are taken as mini-images: each of these is labelled as the image is.
        logits = logits.repeat_interleave(data.partition.count, dim=0)
    if logits is not None and settings.initialize.labels in ("experts", "one_expert"):
        hint, traits = "set initialize.labels to stored to use them", settings.traits
        if traits.synthesis == "recovery" or (traits.matches_trajectories and not traits.learns_labels):
            hint = f"method {settings.method} has labels of its own"
        emit(Warned("the soft labels of the set are not used", hint))
    if (stored := imported.about.get("made_with", {}).get("partition", 1)) != partition:
        # Of an older export, or one whose images.pt was replaced; `random` then has as many images as are taken here.
        what = f"each image is one of {stored**2} mini-images of a stored image, and counts as an image of its own"
        emit(Warned(what, "export the set again, or import the run: then IPC counts the stored images"))
    if imported.labels is None:
        emit(Warned(f"the set has no labels: its images are taken class by class, {ipc} each", source))
    if imported.learning_rate is None:
        key = "matching.beta" if settings.traits.matches_trajectories else "evaluate.real_learning_rate"
        emit(Warned(f"the set has no learning rate: {key} is taken in its place", source))
    images = _as_networks_see_it(images.to(data.train_images), imported, settings, data, source, emit)
    return StartingSet(images, None if logits is None else logits.to(data.train_images), imported.learning_rate)


def _refuse_other_shape(imported: ImportedSet, data: LongTailedData, source: str) -> None:
    wanted = (data.channels, data.image_size, data.image_size)
    if tuple(imported.images.shape[1:]) != wanted:
        its, ours = (" x ".join(map(str, shape)) for shape in (imported.images.shape[1:], wanted))
        hint = "choose the data set, and dataset.resolution, that the set was made of"
        raise InputError(f"the images are {its}, those of the data set {ours}", source, hint)
    names = imported.about.get("made_with", {}).get("class_names", data.class_names)
    if names != data.class_names:
        its, ours = (listed([str(name) for name in classes]) for classes in (names, data.class_names))
        what = f"the classes of the set are {its}; those of the data set {ours}"
        raise InputError(what, source, "choose the data set, and dataset.class_order, that the set was made of")


def _by_class(imported: ImportedSet, data: LongTailedData, source: str) -> tuple[Tensor, Tensor | None]:
    """Images class by class, and their soft labels; raises InputError where classes have unequal numbers of images."""
    images, labels, classes = imported.images, imported.labels, data.num_classes
    count = len(images)
    a_image = 1 if labels is None else len(labels) // count  # labels of an image: one, or one for each mini-image
    if folders := imported.about.get("class_folders"):
        labels = _labels_by_name(folders, data, count)
    known = classes if labels is None else labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    if known > classes or (labels is not None and labels.ndim == 2 and known != classes):
        what = f"the labels are of {known} classes, the data set has {classes}"
        raise InputError(what, source, "choose the data set that the set was made of")
    if count % classes and labels is None:
        raise InputError(f"{count} images of {classes} classes: no equal number for each", source)
    in_order = torch.arange(classes).repeat_interleave(-(-count // classes))[:count]
    numbers = in_order if labels is None else labels.argmax(1) if labels.ndim == 2 else labels
    numbers = numbers[::a_image]
    # The soft label of an image may prefer another class than its own. All known makers write class by class.
    soft = labels if labels is not None and labels.ndim == 2 else None
    if soft is not None and count % classes == 0 and (numbers == in_order).double().mean() >= 0.5:
        return images, soft
    counts = torch.bincount(numbers, minlength=classes).tolist()
    if len(set(counts)) > 1:
        raise unequal_counts(data.class_names, counts, source)
    order = numbers.argsort(stable=True)
    return images[order], None if soft is None else soft.view(count, a_image, classes)[order].flatten(0, 1)


def _labels_by_name(folders: list[str], data: LongTailedData, count: int) -> Tensor:
    """Class numbers of a folder's images: by the names of its classes where they are the data set's, else in order."""
    names = [name.casefold() for name in folders]
    numbers = list(range(len(folders)))
    for known in (data.class_names, folder_names(data.class_names)):
        own = [name.casefold() for name in known]
        if sorted(own) == sorted(names):
            numbers = [own.index(name) for name in names]
            break
    return torch.tensor(numbers).repeat_interleave(count // len(folders))


def _as_networks_see_it(
    images: Tensor, imported: ImportedSet, settings: RunSettings, data: LongTailedData, source: str, emit: Emit
) -> Tensor:
    """The images in the space of the run's whitened train images; warns where they do not look like it."""
    space = imported.space if settings.initialize.start_space == "auto" else settings.initialize.start_space
    whitening = data.whitening
    if space == "auto":
        what = "nothing tells what the values of the images are"
        raise InputError(what, source, "set initialize.start_space (--space): whitened, normalized or pixels")
    if space == "pixels":
        images = whitening.train(images)
    elif space == "normalized" and whitening.mode != "none":
        if whitening.mode == "raw":
            what = "dataset.whitening raw has no mean and std to undo a normalization with"
            raise InputError(what, source, "use dataset.whitening none")
        images = whitening.train(whitening.denormalize(images))
    elif space == "whitened" and imported.whitening and not imported.whitening.equals(whitening):
        images = whitening.train(imported.whitening.to_pixels(images))
    _warn_of_another_space(images, data.train_images, space, emit)
    return images


def _warn_of_another_space(images: Tensor, real: Tensor, space: StartSpace, emit: Emit) -> None:
    """Warns where the images do not look like real ones in the space that they are said to be in."""
    spread, offset = float(images.std() / real.std()), float((images.mean() - real.mean()).abs() / real.std())
    least, most = LIKE_REAL_SPREAD
    likely = least < spread < most and offset < LIKE_REAL_MEAN
    if likely and not (images.min() > -0.01 and images.max() < 1.01 and real.min() < -0.01):
        return
    its, ours = (
        "{} to {}, {} ± {}".format(*(short_number(float(value)) for value in (x.min(), x.max(), x.mean(), x.std())))
        for x in (images, real)
    )
    what = f"taken as {space}, the images have values from {its}; real images from {ours}: is that their space?"
    emit(Warned(what, "initialize.start_space (--space): whitened, normalized or pixels; dataset.whitening"))
