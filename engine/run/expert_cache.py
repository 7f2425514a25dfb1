"""Which cached experts a run would take up, told from settings alone.

Experts are cached under a hash of the very pixels, which only a run has. So each folder of the cache also says what it
was made from, and whoever has no images finds it by that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from engine.run.compile_policy import Form, asked_or, compiled_form, has_compiler
from engine.run.folder import cache_root, expanded, read_json
from engine.run.settings import DatasetSettings, RunSettings

TRAINING_VERSION = 4
"""Goes up when a change of the code changes what an expert becomes, so that older cached ones are not taken."""

ABOUT = "about.json"
LONGEST_HEADER = 1 << 20


class CachedExperts(NamedTuple):
    """How many of a run's experts are there already, of each kind."""

    representation: int = 0
    classifier: int = 0


NONE_CACHED = CachedExperts()


def experts_root() -> Path:
    """Where all experts are cached, a folder for each hash."""
    return cache_root() / "experts"


def expert_file(folder: Path, expert: int) -> Path:
    """The file of one expert below the folder of its hash."""
    return folder / f"{expert:04d}.safetensors"


def representation_epochs(settings: RunSettings) -> int:
    """The last epoch of a representation expert that is read again; epoch 0 to this one are kept."""
    matching = settings.matching
    return min(settings.experts.epochs, matching.max_start_epoch - 1 + matching.expert_epochs)


def classifier_epochs(settings: RunSettings) -> int:
    """The last epoch of a classifier expert that is read again."""
    return min(settings.classifier_experts.epochs, settings.matching.expert_epochs)


def trained_alike(settings: RunSettings) -> dict[str, Any]:
    """The settings of experts that change what each of them becomes, apart from the form that they are trained in.

    Each has a seed of its own, so that asking for more of them keeps those that are there.
    """
    return settings.experts.model_dump(mode="json", exclude={"num_experts"})


def about_representation(
    settings: RunSettings, device_type: str, class_counts: list[int] | None, form: Form, pays: bool
) -> dict[str, Any]:
    """What representation experts are made from, as far as settings tell, and how many images each class had.

    form: in which their steps were run. pays: whether compiling those pays, which the images' size decides.
    """
    return {
        "kind": "representation",
        "version": TRAINING_VERSION,
        "dataset": _dataset(settings.dataset),
        "class_counts": class_counts,
        "experts": trained_alike(settings),
        "seed": settings.seed,
        "device": device_type,
        "form": form,
        "compiling_pays": pays,
    }


def about_classifier(settings: RunSettings, representation_key: str) -> dict[str, Any]:
    """What classifier experts are made from: which representation experts, and the settings of their own."""
    own = settings.classifier_experts.model_dump(mode="json")
    return {"kind": "classifier", "representation": representation_key, "classifier_experts": own}


def cached_experts(settings: RunSettings, device_type: str, class_counts: list[int] | None = None) -> CachedExperts:
    """The experts in the cache that a run of these settings would find.

    A promise only as far as the images themselves are what they were; `class_counts`, where known, are compared.
    """
    # What would have to be known of the images, those who trained on them have written down.
    wanted = [
        about_representation(settings, device_type, class_counts, _form_here(settings, device_type, pays), pays)
        for pays in (False, True)
    ]
    folder = _newest(*wanted)
    if folder is None or not settings.traits.distills:
        return NONE_CACHED
    found = _complete(folder, settings.experts.num_experts, representation_epochs(settings))
    heads = _newest(about_classifier(settings, folder.name)) if settings.traits.decoupled else None
    return CachedExperts(
        found, _complete(heads, settings.experts.num_experts, classifier_epochs(settings)) if heads else 0
    )


def _dataset(settings: DatasetSettings) -> dict[str, Any]:
    path = settings.path and str(expanded(settings.path).absolute())
    return settings.model_dump(mode="json") | {"path": path}


def _form_here(settings: RunSettings, device_type: str, pays: bool) -> Form:
    """In which form this machine would train these experts."""
    form = compiled_form(settings.experts.network, device_type)
    return form if asked_or(settings.compile, pays) and has_compiler(form, device_type) else "eager"


def _newest(*wanted: dict[str, Any]) -> Path | None:
    """The folder that was made from one of these, the last one used where images of one description have changed."""
    abouts = ((path, read_json(path)) for path in experts_root().glob(f"*/{ABOUT}"))
    found = [path for path, about in abouts if any(_fits(about, one) for one in wanted)]
    return max(found, key=_last_use).parent if found else None


def _fits(about: Any, wanted: dict[str, Any]) -> bool:
    if not isinstance(about, dict) or about.keys() != wanted.keys():
        return False
    return all(about[key] == value or (key == "class_counts" and value is None) for key, value in wanted.items())


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _complete(folder: Path, count: int, epochs: int) -> int:
    """How many of the first `count` experts are there, whole and with enough epochs."""
    return sum(_epochs_kept(expert_file(folder, expert)) >= epochs for expert in range(count))


def _epochs_kept(path: Path) -> int:
    """The last epoch in an expert's file, by its header alone; -1 where it is missing or damaged."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, LONGEST_HEADER)))
        end = max(tensor["data_offsets"][1] for tensor in header.values() if "data_offsets" in tensor)
        whole = path.stat().st_size == 8 + length + end
        return int(header["weights"]["shape"][0]) - 2 if whole else -1
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return -1
