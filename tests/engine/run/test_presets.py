"""Presets are found, extended, overridden and checked with every fault at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from engine.run import presets, validation
from engine.run.errors import Fault, InputError, SettingsError
from engine.run.presets import (
    DELETED_SETTINGS,
    DeletedSettingWarning,
    dump,
    list_presets,
    load_preset,
    resolve,
    save_preset,
)
from engine.run.schema import flat
from engine.run.settings import RunSettings
from engine.run.validation import check_runnable
from engine.run.yaml_text import WrittenSettings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no presets of the user's own, and an empty cache."""
    monkeypatch.setenv("LTDD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name if "/" in name else f"./{name}"


def faults(name: str, *overrides: str) -> list[Fault]:
    with pytest.raises(SettingsError) as caught:
        load_preset(name, overrides)
    assert caught.value.exit_code == 2
    return caught.value.faults


def only_fault(name: str, *overrides: str) -> Fault:
    (fault,) = faults(name, *overrides)
    return fault


# What extends what


def test_a_preset_is_found_by_name_and_by_path() -> None:
    by_name = load_preset("quickstart")
    path = write("presets/mine.yaml", "extends: quickstart\nipc: 3\n")
    assert load_preset(path) == by_name.model_copy(update={"ipc": 3})


def test_extends_goes_down_a_chain_by_name_beside_and_by_path() -> None:
    write("a/_base.yaml", "ipc: 3\nseed: 5\nmatching: {beta: 0.5, image_lr: 7.0}\n")
    write("a/middle.yaml", "extends: _base\nmatching: {image_lr: 8.0}\n")
    top = write("b/top.yaml", "extends: ../a/middle.yaml\nseed: 6\n")
    settings = load_preset(top)
    assert (settings.ipc, settings.seed, settings.matching.beta, settings.matching.image_lr) == (3, 6, 0.5, 8.0)


def test_a_preset_of_your_own_may_extend_the_shipped_one_of_its_name() -> None:
    save_preset("mine", "extends: quickstart\nipc: 4\n")
    own = presets.user_folder() / "quickstart.yaml"
    own.write_text("extends: quickstart\nipc: 5\n")
    assert load_preset("mine").ipc == 4
    assert load_preset("quickstart").ipc == 5
    assert load_preset("quickstart").dataset.name == "digits"


def test_presets_that_extend_each_other_are_a_fault() -> None:
    write("a.yaml", "extends: b\n")
    write("b.yaml", "extends: a\n")
    fault = only_fault("./a.yaml")
    assert (fault.where, "circle" in fault.what) == ("b.yaml:1: extends", True)
    assert only_fault(write("own.yaml", "extends: own\n")).what == "this preset extends itself"


def test_expected_is_not_inherited_and_is_dropped_when_the_cell_changes() -> None:
    cell = "cifar10-lt-if100-ipc10"
    assert load_preset(cell).expected is not None
    assert load_preset(write("m.yaml", f"extends: {cell}\nmatching: {{iterations: 5}}\n")).expected is None
    assert load_preset(cell, ["matching.iterations=5", "seed=3"]).expected is not None
    for change in ("method=datm", "ipc=20", "dataset.imbalance_factor=50", "dataset.name=svhn"):
        assert load_preset(cell, [change]).expected is None


def test_the_origin_of_every_value_is_known() -> None:
    write("_base.yaml", "ipc: 3\nmatching:\n  beta: 0.5\n")
    top = write("top.yaml", "extends: _base\nmatching:\n  image_lr: 2.0\n")
    resolved = resolve(top, ["seed=9"])
    assert resolved.settings == load_preset(top, ["seed=9"])
    picked = {key: resolved.origins[key] for key in ("ipc", "matching.beta", "matching.image_lr", "seed", "method")}
    assert picked == {
        "ipc": "_base.yaml:1",
        "matching.beta": "_base.yaml:3",
        "matching.image_lr": "top.yaml:3",
        "seed": "--set",
        "method": "default",
    }


# What is wrong


def test_thousands_of_wrong_keys_are_one_short_report_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for: list[object] = []
    monkeypatch.setattr(validation, "_nearest", lambda path: looked_for.append(path) or "")
    found = faults(write("m.yaml", "".join(f"key_{i}: 1\n" for i in range(2000))))
    assert (len(found), found[-1].what) == (21, "1,980 more like these")
    assert len(looked_for) <= 21, "near names take a millisecond each"


def test_a_later_layer_replaces_a_block_by_a_value_and_a_value_by_a_block() -> None:
    layers = WrittenSettings("")
    for values in ({("a", "b"): 1, ("c",): 2}, {("a",): 3, ("c", "d"): 4}, {("a",): {}, ("c",): {}, ("e",): {}}):
        layers.add(values, {})
    assert layers.values == {("a",): {}, ("c", "d"): 4, ("e",): {}}


def test_every_fault_at_once_with_line_key_and_hint() -> None:
    path = write(
        "presets/mine.yaml",
        """\
dataset:
  name: cifar11
  imbalance_factor: 0.5
ipc: 0
method: ltdp
matching:
  image_lr: "1e2"
  imag_lr: 3.0
  label_lr: "10"
  iterations: 10.0
evaluate:
  arch: [convnet, resnet19]
""",
    )
    found = {fault.where: fault for fault in faults(path, "experts.epochs=x", "nope=1", "evaluate.repeats")}
    assert set(found) == {
        "presets/mine.yaml:2: dataset.name",
        "presets/mine.yaml:3: dataset.imbalance_factor",
        "presets/mine.yaml:4: ipc",
        "presets/mine.yaml:5: method",
        "presets/mine.yaml:7: matching.image_lr",
        "presets/mine.yaml:8: matching.imag_lr",
        "presets/mine.yaml:9: matching.label_lr",
        "presets/mine.yaml:10: matching.iterations",
        "presets/mine.yaml:12: evaluate.arch.1",
        "--set: experts.epochs",
        "--set: nope",
        "--set",
    }
    assert all(fault.hint for fault in found.values())
    image_lr = found["presets/mine.yaml:7: matching.image_lr"]
    assert image_lr.what == "a number is needed, this is the text '1e2'"
    assert image_lr.hint == "write it without quotes: 1e2"
    assert found["presets/mine.yaml:8: matching.imag_lr"].hint == "did you mean matching.image_lr?"
    assert "cifar10, cifar100" in found["presets/mine.yaml:2: dataset.name"].what
    assert "ltdd, dam, ed" in found["presets/mine.yaml:5: method"].what
    assert found["presets/mine.yaml:5: method"].hint == "did you mean ltdd?"
    assert found["presets/mine.yaml:3: dataset.imbalance_factor"].what == "must be >= 1 or natural, this is 0.5"
    assert found["presets/mine.yaml:4: ipc"].what == "must be >= 1, this is 0"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e2", 100.0),
        ("1e-3", 1e-3),
        ("5e-3", 5e-3),
        ("1E5", 1e5),
        ("2.5e3", 2500.0),
        (".5e1", 5.0),
        ("+1.e-2", 0.01),
        ("1.0e+2", 100.0),
        ("+.5", 0.5),
        ("7", 7.0),
    ],
)
def test_a_float_of_yaml_1_2_is_a_number_in_a_file_and_on_the_command_line(written: str, value: float) -> None:
    settings = load_preset(
        write("m.yaml", f"matching:\n  image_lr: {written}\nevaluate: {{weight_decay: {written}}}\n")
    )
    assert (settings.matching.image_lr, settings.evaluate.weight_decay) == (value, value)
    assert load_preset("quickstart", [f"matching.image_lr={written}"]).matching.image_lr == value
    assert load_preset(write("m.yaml", dump(settings))) == settings


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("ipc", "010", 10),
        ("ipc", "0100", 100),
        ("ipc", "+1", 1),
        ("seed", "08", 8),
        ("seed", "00", 0),
        ("matching.image_lr", "010", 10.0),
        ("matching.image_lr", "-0.", 0.0),
        ("dataset.imbalance_factor", "0050.50", 50.5),
        ("dataset.path", "010", "010"),
        ("dataset.path", "2026-11-28", "2026-11-28"),
        ("dataset.path", "off", "off"),
        ("dataset.path", "1:30", "1:30"),
        ("dataset.path", "=", "="),
        ("dataset.path", "1e3", "1e3"),
        ("dataset.path", "true", "true"),
        ("dataset.path", "~", None),
        ("dataset.path", "Null", None),
    ],
)
def test_the_same_text_means_the_same_in_a_file_and_on_the_command_line(key: str, written: str, value: object) -> None:
    block, _, name = f"{key}".rpartition(".")
    in_file = load_preset(write("m.yaml", f"{block}:\n  {name}: {written}\n" if block else f"{name}: {written}\n"))
    for settings in (in_file, load_preset("quickstart", [f"{key}={written}"])):
        assert flat(settings.model_dump())[key] == value
    assert load_preset(write("m.yaml", dump(in_file))) == in_file
    if isinstance(value, str):
        again = yaml.safe_load(dump(in_file))["dataset"]["path"]
        assert again == value, "also for a reader of YAML 1.1"


@pytest.mark.parametrize(
    "written", ["0o10", "0x10", "0b1", "1_000", "1:30", "!!int 0x10", "!!int 1:30", "yes", "=", "<<"]
)
def test_a_number_that_is_not_decimal_is_refused_in_a_file_and_on_the_command_line(written: str) -> None:
    assert only_fault(write("m.yaml", f"ipc: {written}\n")).where == "m.yaml:1: ipc"
    assert only_fault("quickstart", f"ipc={written}").where == "--set: ipc"


def test_a_whole_number_may_have_an_exponent() -> None:
    assert load_preset(write("m.yaml", "matching: {iterations: 1e3}\n")).matching.iterations == 1000
    assert only_fault(write("m.yaml", "matching: {iterations: 1e-3}\n")).where == "m.yaml:1: matching.iterations"


@pytest.mark.parametrize("written", ["'1e-3'", '"1e-3"', "'100'"])
def test_a_number_in_quotes_is_text(written: str) -> None:
    fault = only_fault(write("m.yaml", f"matching:\n  image_lr: {written}\n"))
    assert fault.where == "m.yaml:2: matching.image_lr"
    assert fault.hint == f"write it without quotes: {written[1:-1]}"


@pytest.mark.parametrize("text", ["1e-3", "1E5", ".5e1", "2.5e3", "-.5"])
def test_text_that_looks_like_a_number_stays_text_when_it_is_written_and_read(text: str) -> None:
    settings = RunSettings.model_validate({"dataset": {"name": "folder", "path": text}})
    assert load_preset(write("m.yaml", dump(settings))) == settings
    assert load_preset("quickstart", ["dataset.name=folder", f"dataset.path={text}"]).dataset.path == text


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("label_lr: 3.0\n", "m.yaml:1: label_lr", "did you mean matching.label_lr?"),
        ("matching.image_lr: 3.0\n", "m.yaml:1: matching.image_lr", "write image_lr in the block matching"),
        ("datasets: {name: digits}\n", "m.yaml:1: datasets", "did you mean dataset?"),
        ("evaluate: {iterations: 3}\n", "m.yaml:1: evaluate.iterations", "did you mean matching.iterations?"),
        ("expected: {accuracy: 3.0}\n", "m.yaml:1: expected.source", "where the figure stands"),
        ("seed:\n", "m.yaml:1: seed", "give it a value, or leave the key out"),
        ("experts:\n", "m.yaml:1: experts", "write its settings below it, indented"),
        ("extends: quickstrt\n", "m.yaml:1: extends", "did you mean quickstart?"),
    ],
)
def test_a_misplaced_or_misspelled_key_gets_a_hint(text: str, where: str, hint: str) -> None:
    fault = only_fault(write("m.yaml", text))
    assert (fault.where, fault.hint) == (where, hint)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("ipc: 3\n  seed: 4\n", "m.yaml:2"),
        ("ipc: [3\n", "m.yaml:2"),
        ("\tipc: 3\n", "m.yaml:1"),
        ("- ipc\n", "m.yaml"),
        ("", "m.yaml"),
        ("ipc: 3\n---\nipc: 4\n", "m.yaml:2"),
        ("ipc: 3\nseed: 1\nipc: 4\n", "m.yaml:3: ipc"),
        ("ipc: !!python/name:os.system x\n", "m.yaml:1"),
        ("? [a]\n: 3\n", "m.yaml:1"),
        ("ipc: *one\n", "m.yaml:1"),
        ("ipc: &a {b: *a}\n", "m.yaml:1"),
        ("seed: 2024-99-99\n", "m.yaml:1: seed"),
        ("seed: !!bool maybe\n", "m.yaml:1: seed"),
        ("seed: !!timestamp foo\n", "m.yaml:1: seed"),
        ('ipc: !!int ""\n', "m.yaml:1: ipc"),
        ("ipc: 1" + 400 * "0" + "\n", "m.yaml:1: ipc"),
        ("dataset: &a {name: digits}\nexperts: *a\n", "m.yaml:2"),
    ],
)
def test_malformed_yaml_is_a_fault_with_its_line(text: str, where: str) -> None:
    assert only_fault(write("m.yaml", text)).where == where


def test_a_file_that_is_not_utf_8_is_a_fault() -> None:
    Path("m.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in only_fault("./m.yaml").what


def test_the_fault_of_a_missing_preset_names_the_nearest() -> None:
    assert only_fault("quickstat").hint == "did you mean quickstart?"
    assert "cifar10-lt-if100-ipc10" in only_fault("cifar10-if100-ipc10").hint
    assert only_fault("./nowhere.yaml").where == "./nowhere.yaml"


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("extends: quickstart\nexperts:\n  depth: 4\n", "m.yaml:3: experts.depth", "8 pixels"),
        ("extends: quickstart\ndataset:\n  imbalance_factor: 135\n", "m.yaml:3: dataset.imbalance_factor", "no image"),
        ("dataset: {test_per_class: 174}\n", "m.yaml:1: dataset.test_per_class", "none to train on"),
        ("matching:\n  sequential_from: 21\n", "m.yaml:2: matching.sequential_from", "max_start_epoch 20"),
        ("experts: {epochs: 20}\n", "m.yaml:1: experts.epochs", "reaches past experts.epochs 20"),
        ("classifier_experts: {epochs: 1}\n", "m.yaml:1: classifier_experts.epochs", "classifier_experts.epochs"),
    ],
)
def test_a_combination_that_cannot_work_is_a_fault(text: str, where: str, says: str) -> None:
    fault = only_fault(write("m.yaml", text))
    assert fault.where.partition(": ")[0] == where.partition(": ")[0]
    assert says in fault.what


@pytest.mark.parametrize(
    ("text", "overrides", "where"),
    [
        ("seed: 1", ["experts.epochs=20"], "--set: experts.epochs"),
        ("seed: 1", ["matching.max_start_epoch=90"], "--set: matching.max_start_epoch"),
        ("seed: 1", ["classifier_experts.epochs=1"], "--set: classifier_experts.epochs"),
        ("seed: 1", ["dataset.resolution=8", "experts.depth=4"], "--set: experts.depth"),
        ("experts: {depth: 4}", ["dataset.resolution=8"], "--set: dataset.resolution"),
        ("matching: {max_start_epoch: 3, sequential_from: 4}", [], "m.yaml:2: matching.sequential_from"),
        ("matching: {sequential_from: 4}", ["matching.max_start_epoch=3"], "--set: matching.max_start_epoch"),
        ("experts: {epochs: 20}", [], "m.yaml:2: experts.epochs"),
        ("dataset: {imbalance_factor: 500}", [], "m.yaml:2: dataset.imbalance_factor"),
        ("experts: 3", [], "m.yaml:2: experts"),
        ("seed: 1", ["matching=3"], "--set: matching"),
        ("experts: {depth: 4, epochs: 20}", ["experts=3"], "--set: experts"),
    ],
)
def test_a_fault_is_of_the_layer_that_made_it_and_not_of_the_preset_below(
    text: str, overrides: list[str], where: str
) -> None:
    write("_base.yaml", "matching: {max_start_epoch: 20, expert_epochs: 2}\nexperts: {epochs: 40, depth: 3}\n")
    write("m.yaml", f"extends: _base\n{text}\n")
    assert {fault.where for fault in faults("./m.yaml", *overrides)} == {where}


def test_an_empty_block_changes_nothing_and_is_no_value_of_a_setting() -> None:
    text = "extends: quickstart\nexperts: {}\nmatching: {}\n"
    assert load_preset(write("m.yaml", text)).experts == load_preset("quickstart").experts
    assert load_preset("quickstart", ["experts={}"]) == load_preset("quickstart")
    assert (
        only_fault(write("m.yaml", "extends: quickstart\nipc: {}\n")).what
        == "a whole number is needed, this is a block"
    )


def test_faults_of_combinations_are_listed_with_those_of_single_values() -> None:
    path = write("m.yaml", "extends: quickstart\nipc: 0\nexperts:\n  depth: 4\n")
    assert [fault.where for fault in faults(path)] == ["m.yaml:2: ipc", "m.yaml:4: experts.depth"]
    # Nothing is said of a combination whose one half is already wrong.
    path = write("m.yaml", "experts: {epochs: x}\nmatching: {max_start_epoch: 200}\n")
    assert only_fault(path).where == "m.yaml:1: experts.epochs"


# Overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("matching.image_lr=1e2", "image_lr", 100.0),
        ("matching.image_lr=2.5e3", "image_lr", 2500.0),
        ("matching.image_lr=20", "image_lr", 20.0),
        ("matching.iterations=1e3", "iterations", 1000),
        ("matching.sequential_from=3", "sequential_from", 3),
        ("matching.sequential_from=", "sequential_from", None),
        ("matching.dam_weight=none", "dam_weight", "none"),
    ],
)
def test_an_override_is_read_by_the_type_of_its_setting(override: str, key: str, value: object) -> None:
    assert getattr(load_preset("quickstart", [override]).matching, key) == value


def test_overrides_of_lists_and_text() -> None:
    settings = load_preset(
        "quickstart", ["evaluate.arch=convnet,alexnet", "dataset.augmentation=[]", "dataset.path=123"]
    )
    assert settings.evaluate.arch == ("convnet", "alexnet")
    assert settings.dataset.augmentation == ()
    assert settings.dataset.path == "123"


def test_a_quoted_number_on_the_command_line_stays_text() -> None:
    assert only_fault("quickstart", "matching.image_lr='1e2'").where == "--set: matching.image_lr"


@pytest.mark.parametrize("override", ["extends=quickstart", "matching", "=3", "a..b=3", "matching=3", "ipc=[1"])
def test_a_malformed_override_is_a_fault(override: str) -> None:
    assert only_fault("quickstart", override).where.startswith("--set")


# Settings that older versions had


def test_a_deleted_setting_is_ignored_with_a_warning_that_says_where_and_what_became_of_it() -> None:
    path = write(
        "m.yaml",
        "ipc: 3\nmatching:\n  keep_gib: 0.5\n  compile: never\n  iterations: 7\nexperts: {compile: auto}\n",
    )
    with pytest.warns(DeletedSettingWarning) as caught:
        settings = load_preset(path)
    assert settings == RunSettings.model_validate({"ipc": 3, "matching": {"iterations": 7}})
    assert [str(warning.message) for warning in caught] == [
        "m.yaml:4: matching.compile is no longer a setting and is ignored:"
        " `compile` decides for experts, matching and evaluation together",
        "m.yaml:3: matching.keep_gib is no longer a setting and is ignored:"
        " the memory for saved activations is chosen automatically",
    ]


@pytest.mark.parametrize("word", ["always", "never"])
def test_compile_of_each_block_becomes_the_one_compile_where_all_blocks_agree(word: str) -> None:
    one, both = f"matching: {{compile: {word}}}\n", f"experts: {{compile: {word}}}\nmatching: {{compile: {word}}}\n"
    for older in (one, both, f"{both}evaluate: {{compile: {word}}}\n"):
        with pytest.warns(DeletedSettingWarning) as caught:
            resolved = resolve(write("m.yaml", older))
        assert resolved.settings == RunSettings.model_validate({"compile": word})
        assert resolved.origins["compile"].startswith("m.yaml:")
        assert len(caught) == older.count("compile")
    assert str(caught[1].message) == (
        f"m.yaml:2: matching.compile is no longer a setting and becomes `compile: {word}`:"
        " `compile` decides for experts, matching and evaluation together"
    )


@pytest.mark.parametrize(
    "older",
    [
        "matching: {compile: never}\ncompile: auto\n",  # the new one is given as well
        "matching: {compile: never}\nexperts: {compile: always}\n",
        "matching: {compile: never}\nexperts: {compile: auto}\nevaluate: {compile: auto}\n",
        "matching: {compile: sometimes}\n",
        "matching: {compile: [never]}\n",
    ],
)
def test_compile_of_a_block_is_ignored_where_blocks_differ_or_the_one_compile_is_given(older: str) -> None:
    with pytest.warns(DeletedSettingWarning, match=r"compile is no longer a setting and is ignored"):
        assert load_preset(write("m.yaml", older)) == RunSettings()


def test_a_deleted_setting_with_its_default_of_then_is_left_out_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    older = "experts: {compile: auto}\nmatching: {compile: auto, keep_gib: 1.0}\nevaluate: {compile: auto}\n"
    assert load_preset(write("m.yaml", older)) == RunSettings()
    assert not recwarn.list


@pytest.mark.parametrize("key", DELETED_SETTINGS)
def test_a_deleted_setting_on_the_command_line_is_a_warning(key: tuple[str, ...]) -> None:
    with pytest.warns(DeletedSettingWarning, match=rf"--set: {'.'.join(key)} is no longer"):
        assert load_preset("quickstart", [f"{'.'.join(key)}={DELETED_SETTINGS[key][0]}"]) == load_preset("quickstart")


# Printing and saving


def test_dumped_settings_load_back_equal() -> None:
    for name in ("quickstart", "cifar10-lt-if100-ipc10", "imagenet-lt-if5-ipc10"):
        settings = load_preset(name)
        assert load_preset(write("m.yaml", dump(settings))) == settings
    odd = RunSettings.model_validate({"dataset": {"path": "1e2: yes # no"}, "matching": {"beta_lr": 1e-300}})
    assert load_preset(write("m.yaml", dump(odd))) == odd


def test_saved_presets_are_listed_as_yours() -> None:
    settings = load_preset("quickstart", ["ipc=7"])
    path = save_preset("mine", dump(settings))
    (info,) = [preset for preset in list_presets()[0] if preset.name == "mine"]
    assert (info.path, info.origin, info.settings) == (path, "yours", settings)
    assert load_preset("mine") == settings


def test_saving_refuses_bad_text_bad_names_and_names_that_are_taken() -> None:
    with pytest.raises(SettingsError):
        save_preset("mine", "ipc: 0\n")
    for name in ("", "../x", "_hidden", "a/b", "a.yaml", "quickstart"):
        with pytest.raises(InputError):
            save_preset(name, dump(RunSettings()))
    assert not presets.user_folder().exists()
    save_preset("mine", dump(RunSettings()))
    with pytest.raises(InputError):
        save_preset("mine", dump(RunSettings()))
    save_preset("mine", "seed: 3\n", overwrite=True)
    assert load_preset("mine").seed == 3


def test_a_broken_preset_does_not_hide_the_others() -> None:
    folder = presets.user_folder()
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("ipc: 0\n")
    listed, faults = list_presets()
    names = [preset.name for preset in listed]
    assert "quickstart" in names and "broken" not in names
    (fault,) = faults
    assert fault.where.endswith("broken.yaml:1: ipc")


def test_an_installed_package_brings_its_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shipped_presets").mkdir()
    (tmp_path / "shipped_presets" / "other.yaml").write_text("ipc: 3\n")
    monkeypatch.setattr(presets, "files", lambda package: tmp_path)
    assert [preset.name for preset in list_presets()[0]] == ["other"]


def test_listing_imports_no_torch() -> None:
    code = "import sys; from engine.run.presets import list_presets; list_presets(); print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# What this machine lacks


def test_missing_data_is_a_fault_of_the_path(tmp_path: Path) -> None:
    for name in ("folder", "imagenet-lt", "tiny-imagenet"):
        (fault,) = check_runnable(RunSettings.model_validate({"dataset": {"name": name}}))
        assert fault.where == "dataset.path"
    there = RunSettings.model_validate({"dataset": {"name": "folder", "path": str(tmp_path)}})
    assert check_runnable(there) == check_runnable(RunSettings()) == []
    (fault,) = check_runnable(RunSettings.model_validate({"dataset": {"path": str(tmp_path / "no")}}))
    assert "no such folder" in fault.what
    marked = tmp_path / "cache" / "data" / "tiny-imagenet-200"
    marked.mkdir(parents=True)
    (marked / "wnids.txt").touch()
    assert check_runnable(RunSettings.model_validate({"dataset": {"name": "tiny-imagenet"}})) == []


@pytest.mark.parametrize("name", ["a" * 300, "a/" + "b" * 300, "~no-such-user/x.yaml"])
def test_an_impossible_file_name_is_a_missing_preset(name: str) -> None:
    assert "there is no" in only_fault(name).what
    assert "there is no" in only_fault(write("mine.yaml", f"extends: {name}\n")).what
    settings = load_preset("quickstart", ["dataset.name=folder", f"dataset.path={name}"])
    assert [fault.what for fault in check_runnable(settings)] == ["there is no such folder"]


def test_brackets_nested_too_deep_are_a_fault() -> None:
    assert "too deep" in only_fault(write("deep.yaml", "ipc: " + "[" * 3000 + "]" * 3000)).what
    assert "too deep" in only_fault("quickstart", "ipc=" + "[" * 3000).what


def test_a_method_has_defaults_of_its_own_which_a_preset_may_change(tmp_path: Path) -> None:
    plain = load_preset("quickstart")
    ours = resolve("quickstart", ["method=ltdd-plus"])
    assert (plain.initialize.labels, ours.settings.initialize.labels) == ("experts", "teacher")
    assert ours.origins["initialize.labels"] == "default of ltdd-plus"
    assert load_preset("quickstart", ["method=ltdd-plus", "initialize.labels=class"]).initialize.labels == "class"
    # Images of 8 pixels are too small to hold mini-images.
    assert [load_preset(name, ["method=idm"]).initialize.partition for name in ("quickstart", "own-images")] == [1, 2]
    # What a preset writes suits its own method, not one that is named over it.
    over = load_preset("cifar100-lt-if10-ipc10", ["method=rldd"])
    assert (over.initialize.images, over.matching.iterations) == ("crops", 75)
    assert load_preset("cifar100-lt-if10-ipc10", ["method=ltdd"]).initialize.images == "real"
    # Written as the few lines in which it differs, it reads back to the same settings.
    changed = load_preset("quickstart", ["method=ltdd-plus", "initialize.labels=experts"])
    for settings in (ours.settings, changed):
        file = tmp_path / "mine.yaml"
        file.write_text(presets.extending(settings, "quickstart", "mine"))
        assert load_preset(str(file)) == settings
