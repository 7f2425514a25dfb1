"""Which cached experts and networks of the teacher a run would reuse, known from its settings alone.

The cache key of experts is a hash over the pixels they are trained on, which only a running worker has. Each cache
folder also has about.json with the settings that made its experts. The app (ltdd_tui) has no pixels to hash, so it
searches these files.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel

from engine.run.compile_policy import StepBackend, compile_or_not, compiled_backend, has_compiler
from engine.run.data_settings import DatasetSettings
from engine.run.errors import Fault
from engine.run.folder import JSON_OBJECT, cache_root, expanded, read_typed
from engine.run.manifest import Origin
from engine.run.regular_files import open_regular
from engine.run.settings import ExpertSettings, RunSettings

TRAINING_VERSION = 4
"""Goes up when a change of the code changes the bytes of experts, so that older cached ones are not reused."""

NO_EPOCHS = -1
"""The last epoch that is kept of a network of which the last weights alone are read again."""

ABOUT = "about.json"
# Of a safetensors file: a longer one is damage.
LONGEST_HEADER = 1 << 20


IMPORTED: Literal["imported experts"] = "imported experts"
"""The kind, in about.json, of experts that were trained elsewhere."""


class ImportedExperts(BaseModel, strict=True):
    """The about.json of experts that were trained elsewhere: how many, of how many epochs, and where they are from.

    tested_on: the fingerprint of the images whose accuracies they hold.
    """

    kind: Literal["imported experts"]
    network: dict[str, Any]
    experts: int
    epochs: int
    tested_on: str | None = None
    source: str | None = None
    sha256: dict[str, str] = {}


class CachedExperts(NamedTuple):
    """How many of a run's experts and of its teacher's networks are in the cache, by kind."""

    representation: int = 0
    classifier: int = 0
    teacher: int = 0


NONE_CACHED = CachedExperts()


def experts_root() -> Path:
    """Where all experts are cached, a folder for each hash."""
    return cache_root() / "experts"


def expert_file(folder: Path, expert: int) -> Path:
    """The file of one expert below the folder of its hash."""
    return folder / f"{expert:04d}.safetensors"


def representation_epochs(settings: RunSettings) -> int:
    """The last epoch of a representation expert that matching reads; epochs 0 to this one are kept."""
    matching = settings.matching
    return min(settings.experts.epochs, matching.max_start_epoch - 1 + matching.expert_epochs)


def classifier_epochs(settings: RunSettings) -> int:
    """The last epoch of a classifier expert that matching reads."""
    return min(settings.classifier_experts.epochs, settings.matching.expert_epochs)


def trained_alike(settings: RunSettings) -> dict[str, Any]:
    """The settings of experts that change the bytes of each, apart from the form of the training steps.

    Not their number: each expert has a seed of its own, so a run that asks for more reuses those that are there.
    """
    return settings.experts.model_dump(mode="json", exclude={"num_experts", "imported"})


def classifiers_trained_alike(settings: RunSettings) -> dict[str, Any]:
    """The settings of classifier experts that change the bytes of each; plain SGD is left out, as older hashes do."""
    own = settings.classifier_experts
    return own.model_dump(mode="json", exclude={"optimizer"} if own.optimizer == "sgd" else None)


def teachers_trained_alike(settings: RunSettings) -> dict[str, Any]:
    """The settings of the teacher's networks that change the bytes of each, apart from the form of the steps."""
    own = settings.teacher.model_dump(mode="json", exclude={"networks", "temperature", "label_adjustment"})
    if settings.teacher.kind == "glmc":  # it mixes batches in its own way
        own["cutmix"] = 0.0
    return own | settings.experts.model_dump(mode="json", include={"network", "width", "depth"})


class _About(Protocol):
    """What makes the about.json of one kind.

    class_counts: images of each class. form: of the training steps. pays: whether compiling those pays, which depends
    on the images' size.
    """

    def __call__(
        self, settings: RunSettings, device_type: str, class_counts: list[int] | None, form: StepBackend, pays: bool
    ) -> dict[str, Any]: ...


def about_representation(
    settings: RunSettings, device_type: str, class_counts: list[int] | None, form: StepBackend, pays: bool
) -> dict[str, Any]:
    """The about.json of representation experts: what they are made from."""
    own = {"kind": "representation", "experts": trained_alike(settings)}
    return own | _about_images_and_steps(settings, device_type, class_counts, form, pays)


def about_teacher(
    settings: RunSettings, device_type: str, class_counts: list[int] | None, form: StepBackend, pays: bool
) -> dict[str, Any]:
    """The about.json of the teacher's networks: what they are made from."""
    own = {"kind": "teacher", "teacher": teachers_trained_alike(settings)}
    return own | _about_images_and_steps(settings, device_type, class_counts, form, pays)


def _about_images_and_steps(
    settings: RunSettings, device_type: str, class_counts: list[int] | None, form: StepBackend, pays: bool
) -> dict[str, Any]:
    return {
        "version": TRAINING_VERSION,
        "dataset": _about_dataset(settings),
        "class_counts": class_counts,
        "seed": settings.seed,
        "device": device_type,
        "form": form,
        "compiling_pays": pays,
    }


def _about_dataset(settings: RunSettings) -> dict[str, Any]:
    path, apart = settings.dataset.path, settings.validation.sets_apart
    own = settings.dataset.model_dump(mode="json") | {"path": path and str(expanded(path).absolute())}
    # Experts of all images have no such key.
    return own | {"validation": apart} if apart else own


def about_classifier(settings: RunSettings, representation_key: str) -> dict[str, Any]:
    """The about.json of classifier experts: the key of their representation experts, and their own settings."""
    own = classifiers_trained_alike(settings)
    about = {"kind": "classifier", "representation": representation_key, "classifier_experts": own}
    if settings.experts.imported is None:
        return about
    # Those of imported experts depend on images and a seed that the key of these does not cover.
    return about | {"dataset": _about_dataset(settings), "seed": settings.seed}


class CachedFolders(NamedTuple):
    """Where a run's experts and its teacher's networks lie in the cache, by kind; None where none is like them."""

    representation: Path | None = None
    classifier: Path | None = None
    teacher: Path | None = None


def cached_folders(settings: RunSettings, device_type: str, class_counts: list[int] | None = None) -> CachedFolders:
    """The folders that a run of these settings would reuse, as long as the images have not changed.

    `class_counts` are compared where they are known. How many experts they hold is another question.
    """
    if settings.validation.sets_apart and settings.dataset.test_groups is not None:
        class_counts = None  # of whole groups only about as many are set apart as are asked for

    def folder_of(about: _About) -> Path | None:
        # Whether compiling pays depends on the images, which are not at hand: both answers are looked for.
        form = compiled_backend(settings.experts.network, device_type)
        installed, descriptions = has_compiler(form, device_type), []
        for pays in (False, True):
            form_here = form if installed and compile_or_not(settings.compile, pays) else "eager"
            descriptions.append(about(settings, device_type, class_counts, form_here, pays))
        return _newest(*descriptions)

    representation = classifier = None
    imported = settings.experts.imported and experts_root() / settings.experts.imported
    if settings.trains_experts:
        representation = imported or folder_of(about_representation)
    if representation and settings.trains_classifier_experts:
        classifier = _newest(about_classifier(settings, representation.name))
    return CachedFolders(representation, classifier, folder_of(about_teacher) if settings.trains_teacher else None)


def cached_experts(settings: RunSettings, device_type: str, class_counts: list[int] | None = None) -> CachedExperts:
    """The experts in the cache that a run of these settings would reuse, as of `cached_folders`."""
    folders, experts = cached_folders(settings, device_type, class_counts), settings.experts.num_experts
    wanted = (
        (folders.representation, experts, representation_epochs(settings)),
        (folders.classifier, experts, classifier_epochs(settings)),
        (folders.teacher, settings.teacher.networks, NO_EPOCHS),
    )
    return CachedExperts(*(_complete(folder, count, epochs) if folder else 0 for folder, count, epochs in wanted))


def network_facts(experts: ExpertSettings) -> dict[str, Any]:
    """What of the network has to be alike for imported experts to be taken."""
    return experts.model_dump(include={"network", "width", "depth"})


def imported_faults(settings: RunSettings) -> list[Fault]:
    """Why the experts that experts.imported names cannot be taken; nothing where it names none."""
    experts, where = settings.experts, f"experts.imported {settings.experts.imported}"
    if experts.imported is None or not settings.trains_experts:
        return []
    about = read_typed(experts_root() / experts.imported / ABOUT, ImportedExperts)
    if about is None:
        hint = "`ltdd-tui import-experts PATH` imports them, and names them"
        return [Fault(f"there are no such experts in {experts_root()}", where, hint)]
    faults = []
    if about.network != network_facts(experts):
        its, ours = (
            " ".join(f"{k} {v}" for k, v in facts.items()) for facts in (about.network, network_facts(experts))
        )
        faults.append(Fault(f"their network is {its}, the run's {ours}", where, "set experts.width and experts.depth"))
    if about.experts < experts.num_experts:
        hint = f"--set experts.num_experts={about.experts}"
        faults.append(Fault(f"there are {about.experts}, experts.num_experts is {experts.num_experts}", where, hint))
    if not settings.unresolved and about.epochs < representation_epochs(settings):
        what = f"they have {about.epochs} epochs, matching reads {representation_epochs(settings)}"
        faults.append(Fault(what, where, "lower matching.max_start_epoch or matching.expert_epochs"))
    return faults


def _newest(*descriptions: dict[str, Any]) -> Path | None:
    """The cache folder that fits one of the descriptions; of several, such as after images changed, the last used."""
    abouts = ((path, read_typed(path, JSON_OBJECT) or {}) for path in experts_root().glob(f"*/{ABOUT}"))
    fitting = [path for path, about in abouts if any(_fits(about, description) for description in descriptions)]
    return max(fitting, key=_last_use).parent if fitting else None


def _fits(about: dict[str, Any], description: dict[str, Any]) -> bool:
    if about.keys() != description.keys():
        return False
    if isinstance(dataset := about.get("dataset"), dict):
        # A setting that is newer than these experts had its default when they were trained.
        about = about | {"dataset": DatasetSettings().model_dump(mode="json") | dataset}
    return all(about[key] == value or (key == "class_counts" and value is None) for key, value in description.items())


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _complete(folder: Path, count: int, epochs: int) -> int:
    """How many of the first `count` experts are in the folder, undamaged and with at least `epochs` epochs."""
    return sum(epochs_kept(expert_file(folder, expert)) >= epochs for expert in range(count))


def epochs_kept(path: Path) -> float:
    """The last epoch in an expert's safetensors file, from its header alone; -inf where it is missing or damaged."""
    try:
        header, begin = _header(path)
        end = max(tensor["data_offsets"][1] for tensor in header.values() if "data_offsets" in tensor)
        whole = path.stat().st_size == begin + end
        return int(header["weights"]["shape"][0]) - 2 if whole else -math.inf
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return -math.inf


ORIGIN = "origin"
"""In the metadata of a cached expert: what made it."""


def origin_of(path: Path) -> Origin | None:
    """What made the expert of this file; None where an older version has not written it, or it cannot be read."""
    try:
        return Origin.model_validate_json(_header(path)[0]["__metadata__"][ORIGIN])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _header(path: Path) -> tuple[Any, int]:
    """The header of a safetensors file, and where its tensors begin."""
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(min(length, LONGEST_HEADER))), 8 + length
