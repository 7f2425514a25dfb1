"""The form as a value: what is typed is what is run, and every fault stands at the field that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.presets import extending, load_preset, preset_files, save_preset
from engine.run.schema import leaves
from ltdd_tui.launch.form import BASIC, DEVICE, NAME, Form, first_form, form_of_preset, more_settings, validate

KEYS = [key for key in leaves() if not key.startswith("expected.")]


def typed(*entries: tuple[str, str], preset: str = "quickstart") -> Form:
    form = form_of_preset(preset)
    for key, text in entries:
        form = form.with_text(key, text)
    return form


@pytest.mark.parametrize("preset", preset_files())
def test_every_preset_comes_out_of_the_form_as_it_went_in(preset: str) -> None:
    wanted = load_preset(preset)
    shown = form_of_preset(preset)
    assert validate(shown).settings == wanted and not shown.overrides()
    # The same texts over another preset: each field alone holds all that its setting is.
    other = "quickstart" if preset != "quickstart" else "cifar100-lt-if10-ipc50"
    written = typed(*((key, shown.text(key)) for key in KEYS), preset=other)
    validated = validate(written)
    assert validated.faults == {}
    assert validated.settings == wanted.model_copy(update={"expected": validated.settings.expected})


def test_the_form_has_every_setting_once() -> None:
    shown = [*BASIC, *(leaf.key for block in more_settings().values() for leaf in block)]
    assert sorted(shown) == sorted(KEYS)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("dataset.imbalance_factor", "0.5", "must be >= 1 or natural, this is 0.5"),
        ("dataset.imbalance_factor", "naturl", "'naturl' is not known"),
        ("dataset.imbalance_factor", "1000", "leaves no image for"),
        ("ipc", "0", "must be >= 1"),
        ("ipc", "ten", "a whole number is needed, this is the text 'ten'"),
        ("ipc", "2.5", "a whole number is needed"),
        ("ipc", "", "a whole number is needed, this is empty"),
        ("seed", "-1", "must be >= 0"),
        ("method", "magic", "is not known"),
        ("matching.image_lr", "1e999", "not a finite number"),
        ("matching.image_lr", "[1", "is no value"),
        ("matching.image_lr", "{a: 1}", "this is a block"),
        ("compile", "maybe", "is not known"),
        ("experts.depth", "7", "must be >= 1 and <= 6"),
        ("experts.depth", "5", "halve images of 8 pixels"),
        ("evaluate.arch", "convnet, vgg19", "is not known"),
        ("evaluate.arch", "[]", "at least one is needed"),
        ("dataset.resolution", "4", "must be >= 8"),
        ("dataset.test_per_class", "174", "leave none to train on"),
        # What does not fit is told where it was typed, though the preset's value is the one named first.
        ("experts.epochs", "10", "reaches past experts.epochs 10"),
        ("matching.max_start_epoch", "60", "reaches past experts.epochs 40"),
        ("matching.sequential_from", "30", "lies above matching.max_start_epoch"),
    ],
)
def test_a_wrong_value_is_a_fault_of_its_own_field(key: str, text: str, said: str) -> None:
    form = typed((key, text))
    validated = validate(form)
    assert list(validated.faults) == [key]
    assert said in validated.faults[key].what
    assert form.text(key) == text, "what was typed stays"
    assert validated.settings == load_preset("quickstart"), "and the rest is told without it"


def test_all_faults_come_at_once_and_what_is_right_still_counts() -> None:
    validated = validate(
        typed(("ipc", "3"), ("seed", "x"), ("matching.beta", "-1"), ("dataset.imbalance_factor", "0.5"))
    )
    assert set(validated.faults) == {"seed", "matching.beta", "dataset.imbalance_factor"}
    assert validated.settings.ipc == 3 and validated.settings.seed == 0


def test_typing_what_the_preset_says_is_no_change_and_its_figure_comes_back() -> None:
    form = typed(("ipc", "20"), preset="cifar10-lt-if100-ipc10")
    assert validate(form).settings.expected is None, "the published figure is of another cell"
    form = form.with_text("ipc", " 10 ").with_text(NAME, " mine ").with_text(DEVICE, "cpu")
    assert form.overrides() == [] and validate(form).settings == load_preset("cifar10-lt-if100-ipc10")
    assert (form.name, form.device) == ("mine", "cpu")
    assert form.reset().name == "" and form.reset().device == "cpu"


def test_choosing_ones_own_images_takes_settings_for_photographs_and_keeps_what_was_typed() -> None:
    own = typed(("ipc", "7"), ("dataset.path", "/photos"), ("dataset.whitening", "paper"), ("dataset.name", "folder"))
    settings = validate(own).settings
    assert own.preset == "own-images" and own.typed == {"ipc": "7", "dataset.path": "/photos"}
    assert (settings.dataset.resolution, settings.dataset.imbalance_factor) == (32, "natural")
    assert settings.experts.depth == 3 and "flip" in settings.dataset.augmentation
    back = own.with_text("dataset.name", "digits")
    assert back.preset == "quickstart" and validate(back).settings.experts.depth == 2
    # Whoever picked a preset for photographs has chosen already.
    assert typed(("dataset.name", "folder"), preset="cifar10-lt-if100-ipc10").preset == "cifar10-lt-if100-ipc10"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LTDD_HOME", str(tmp_path))
    return tmp_path


def test_a_spoilt_quickstart_of_ones_own_does_not_keep_the_form_from_opening(home: Path) -> None:
    (home / "presets").mkdir()
    (home / "presets" / "quickstart.yaml").write_text("ipc: none\n")
    assert first_form("cpu").preset != "quickstart"


def test_a_saved_preset_says_only_what_differs_and_means_the_same(home: Path) -> None:
    form = typed(("ipc", "20"), ("matching.image_lr", "5e1"), preset="cifar10-lt-if100-ipc10")
    settings = validate(form).settings
    text = extending(settings, form.preset, "mine")
    assert text == "extends: cifar10-lt-if100-ipc10\nipc: 20\nmatching:\n  image_lr: 50.0\n"
    save_preset("mine", text)
    assert load_preset("mine") == settings
    # Saved over itself it extends what it extended, and an unchanged cell keeps its published figure.
    again = validate(typed(("ipc", "10"), ("seed", "4"), preset="mine")).settings
    save_preset("mine", extending(again, "mine", "mine"), overwrite=True)
    assert "extends: cifar10-lt-if100-ipc10\n" in (home / "presets" / "mine.yaml").read_text()
    assert load_preset("mine") == again
    kept = validate(typed(("seed", "4"), preset="cifar10-lt-if100-ipc10")).settings
    save_preset("seeded", extending(kept, "cifar10-lt-if100-ipc10", "seeded"))
    assert kept.expected is not None and load_preset("seeded") == kept
