"""Representation and classifier experts of a tiny run: what is kept, what never changes, what is shared."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from engine import compilation
from engine.context import Clock, Context
from engine.data.dataset import load_long_tailed
from engine.manifest import write_manifest
from engine.nets.norm_pool_cpp import CannotBuild, why_not_build
from engine.run import expert_cache
from engine.run.errors import RunFailed, Stopped
from engine.run.events import ExpertDone, ExpertEpoch, Warned
from engine.run.expert_cache import cached_experts, experts_root
from engine.run.folder import RunFolder, read_json, write_json
from engine.run.locks import exclusive
from engine.run.settings import RunSettings, settings_hash
from engine.stages import experts
from engine.stages.experts import representation_store, train_classifier_experts, train_experts
from engine.stages.initialize import initialize
from engine.training.accuracy import per_class_accuracy
from engine.training.from_scratch import fresh_network

CPU = torch.device("cpu")


def _settings(**matching) -> RunSettings:
    return RunSettings.model_validate(
        {
            "dataset": {"name": "digits", "imbalance_factor": 20, "whitening": "none"},
            "ipc": 2,
            "experts": {"width": 4, "depth": 2, "num_experts": 2, "epochs": 5, "batch_size": 64, "learning_rate": 0.05},
            "classifier_experts": {"epochs": 3, "learning_rate": 0.05},
            "matching": {"max_start_epoch": 2} | matching,
        }
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A context, its events, its data and network; experts go to a cache of the test's own."""
    monkeypatch.setenv("LTDD_CACHE", str(tmp_path / "cache"))

    def make(name="run", **matching):
        settings, events = _settings(**matching), []
        folder = RunFolder(tmp_path / name)
        context = Context(settings, folder, CPU, events.append, lambda: None, Clock(folder))
        data = load_long_tailed(settings.dataset, settings.ipc, CPU, events.append)
        return context, events, data, fresh_network(settings, data, "convnet")[0]

    return make


def test_snapshots_are_copies_of_the_epochs_that_are_read_again(run):
    context, _, data, network = run()
    for expert, trajectory in enumerate(train_experts(context, data, network)):
        # Start epochs 0 and 1 with two epochs to follow reach epoch 3; the fifth and last is kept beside them.
        assert trajectory.weights.shape == (5, network.num_parameters)
        _, fresh = fresh_network(context.settings, data, "convnet", "representation", expert)
        assert torch.equal(trajectory.at(0), fresh)
        for earlier, later in zip(trajectory.weights, trajectory.weights[1:], strict=False):
            assert not torch.equal(earlier, later)


def test_classifier_experts_leave_the_backbone_unchanged_to_the_bit(run):
    context, _, data, network = run()
    representation = train_experts(context, data, network)
    before = [expert.weights.clone() for expert in representation]
    classifiers = train_classifier_experts(context, data, network, representation)
    for weights, expert, classifier in zip(before, representation, classifiers, strict=True):
        assert torch.equal(weights, expert.weights)
        assert torch.equal(classifier.at(0), expert.last[network.classifier])
        assert not torch.equal(classifier.last, classifier.at(0))
        # What it was tested with is the representation expert's very backbone under its own classifier.
        theta = torch.cat([expert.last[network.backbone], classifier.last])
        assert torch.equal(per_class_accuracy(network, theta, data.test_images, data.test_labels), classifier.per_class)


def test_gsam_bends_the_way_of_a_classifier_a_little_and_is_cached_apart(run):
    context, _, data, network = run()
    representation = train_experts(context, data, network)
    plain = train_classifier_experts(context, data, network, representation)
    own = context.settings.classifier_experts.model_copy(update={"optimizer": "gsam"})
    flat = dataclasses.replace(context, settings=context.settings.model_copy(update={"classifier_experts": own}))
    assert cached_experts(flat.settings, "cpu") == (2, 0, 0)
    for sgd, gsam in zip(plain, train_classifier_experts(flat, data, network, representation), strict=True):
        assert torch.equal(sgd.at(0), gsam.at(0))
        assert 0 < (gsam.last - sgd.last).norm() < 0.02 * (sgd.last - sgd.at(0)).norm()
    assert cached_experts(flat.settings, "cpu") == cached_experts(context.settings, "cpu") == (2, 2, 0)
    # Frozen: the key that plain SGD had before there was a choice.
    before = context.settings.classifier_experts.model_dump(exclude={"optimizer"})
    key = settings_hash(representation_store(context, data).key, before)
    assert (expert_cache.experts_root() / key).is_dir()


def test_another_run_takes_the_cached_experts_and_trains_only_what_reaches_further(run):
    context, _, data, network = run()
    first = train_experts(context, data, network)
    for name, matching, trained in (("same", {"lambda_rep": 0.3}, 0), ("further", {"max_start_epoch": 3}, 2)):
        context, events, data, network = run(name, **matching)
        again = train_experts(context, data, network)
        assert sum(isinstance(event, ExpertEpoch) for event in events) == trained * 5
        assert [event.cached for event in events if isinstance(event, ExpertDone)] == [trained == 0] * 2
        for old, new in zip(first, again, strict=True):
            assert torch.equal(old.weights[:4], new.weights[:4]) and torch.equal(old.last, new.last)


def test_cached_experts_are_found_by_settings_alone_without_the_images(run):
    context, _, data, network = run()
    settings, counts = context.settings, data.class_counts
    assert cached_experts(settings, "cpu", counts) == (0, 0, 0)
    representation = train_experts(context, data, network)
    store = representation_store(context, data)
    assert cached_experts(settings, "cpu", counts) == (2, 0, 0)
    train_classifier_experts(context, data, network, representation)

    def cached(device="cpu", counts=counts, **changed):
        return cached_experts(RunSettings.model_validate(settings.model_dump() | changed), device, counts)

    assert cached() == cached(counts=None) == (2, 2, 0)
    assert cached(ipc=5, method="ed") == (2, 2, 0), "neither takes new experts"
    assert cached(method="datm") == (2, 0, 0) and cached(method="random") == (0, 0, 0)
    assert cached(seed=1) == cached(device="cuda") == cached(counts=[*counts[:-1], 1]) == (0, 0, 0)
    assert cached(matching={"max_start_epoch": 3}) == (0, 2, 0), "they hold too few epochs"
    assert cached(classifier_experts={"epochs": 4}) == (2, 0, 0)
    assert cached(dataset=settings.dataset.model_dump() | {"imbalance_factor": 21.0}) == (0, 0, 0)
    # Where counts are not known, the settings tell that some images are set apart.
    apart = {"share": 0.1}
    assert cached(validation=apart) == cached(validation=apart, counts=None) == (0, 0, 0)
    described = store.folder / "about.json"
    of_all = read_json(described)
    write_json(described, of_all | {"dataset": of_all["dataset"] | {"validation": {"share": 0.1, "smallest": 20}}})
    assert cached(validation=apart)[0] == 2 and cached(counts=None) == (0, 0, 0)
    assert cached(validation=apart | {"patience": 1, "networks": 2})[0] == 2, "the same images are set apart"
    write_json(described, of_all)
    assert cached(experts=settings.experts.model_dump() | {"num_experts": 3}) == (2, 2, 0)
    about = read_json(store.folder / "about.json")
    older = about["dataset"].copy()
    assert older.pop("class_order") == "label"
    write_json(store.folder / "about.json", about | {"dataset": older})
    assert cached() == (2, 2, 0), "a setting that came later had its default"
    assert cached(dataset=settings.dataset.model_dump() | {"class_order": "count"}) == (0, 0, 0)
    store.path(1).write_bytes(store.path(1).read_bytes()[:-1])
    store.path(0).with_name("about.json.old").write_text("{")
    assert cached() == (1, 2, 0)
    (store.folder / "about.json").write_text("[]")
    assert cached() == (0, 0, 0)


@pytest.mark.skipif(why_not_build() is not None, reason=f"nothing can be built here: {why_not_build()}")
def test_compiled_and_eager_experts_are_cached_apart_and_the_manifest_names_the_form(run, monkeypatch):
    context, _, data, network = run()
    settings = context.settings
    always = settings.model_copy(update={"compile": "always"})
    eager = train_experts(context, data, network)
    keys, compiled = {representation_store(context, data).key}, dataclasses.replace(context, settings=always)
    write_manifest(compiled.folder, always, CPU)
    assert cached_experts(settings, "cpu", data.class_counts) == (2, 0, 0)
    assert cached_experts(always, "cpu", data.class_counts) == (0, 0, 0)
    keys.add(representation_store(compiled, data).key)
    assert read_json(compiled.folder.manifest)["forms"] == {"experts": "cpp"}
    assert not torch.equal(train_experts(compiled, data, network)[0].last, eager[0].last)
    assert cached_experts(always, "cpu", data.class_counts) == (2, 0, 0)
    # The same settings on a machine without a compiler, which takes up what was trained eagerly.
    monkeypatch.setattr(compilation, "why_not_build", lambda: CannotBuild("no C++ compiler found"))
    monkeypatch.setattr(expert_cache, "has_compiler", lambda *_: False)
    without = dataclasses.replace(compiled, emit=lambda event: None)
    assert cached_experts(always, "cpu", data.class_counts) == (2, 0, 0)
    assert representation_store(without, data).key in keys and len(keys) == 2
    assert representation_store(without, data).key == representation_store(context, data).key
    assert read_json(without.folder.manifest)["forms"] == {"experts": "eager"}


def test_a_damaged_expert_is_trained_again(run):
    context, _, data, network = run()
    before = train_experts(context, data, network)[1].weights.clone()
    path = representation_store(context, data).path(1)
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(train_experts(context, data, network)[1].weights, before)


def test_the_start_is_real_images_that_an_expert_gets_right_with_soft_labels_that_agree(run):
    context, _, data, network = run()
    experts = [expert.last for expert in train_experts(context, data, network)]
    start = initialize(context, data, network, experts)
    assert start.images.shape == (20, 1, 8, 8) and start.label_logits.shape == (20, 10)
    real = {image.numpy().tobytes() for image in data.train_images}
    assert all(image.numpy().tobytes() in real for image in start.images)
    classes = torch.arange(10).repeat_interleave(2)
    assert torch.equal(start.label_logits.argmax(dim=1), classes)


def test_a_run_waits_for_another_that_trains_the_same_experts_and_can_be_stopped_meanwhile(run):
    context, events, data, network = run()
    store = representation_store(context, data)

    def stop() -> None:
        if any(isinstance(event, Warned) and "another run" in event.message for event in events):
            raise Stopped("asked to")

    with exclusive(store.lock, "held"), pytest.raises(Stopped):
        train_experts(dataclasses.replace(context, check_stop=stop), data, network)
    assert len(train_experts(context, data, network)) == 2


def test_experts_trained_at_once_are_those_trained_one_by_one(run, monkeypatch):
    context, _, data, network = run()
    alone = train_experts(context, data, network)
    for expert in range(2):
        representation_store(context, data).path(expert).unlink()
    monkeypatch.setattr(experts, "group_size", lambda *_: 2)
    context, events, data, network = run("together")
    together = train_experts(context, data, network)
    assert [event.expert for event in events if isinstance(event, ExpertEpoch)] == [0, 1] * 5
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.at(0), other.at(0))
        assert torch.allclose(one.weights, other.weights, atol=1e-4)
        assert torch.allclose(one.norms, other.norms, rtol=1e-4)


def test_experts_that_diverge_end_the_run_and_are_not_cached(run):
    context, _, data, network = run()
    experts = context.settings.experts.model_copy(update={"learning_rate": 1e30})
    context = dataclasses.replace(context, settings=context.settings.model_copy(update={"experts": experts}))
    message = r"representation experts, epoch 1: a training loss is not finite\nhint: lower experts.learning_rate"
    with pytest.raises(RunFailed, match=message):
        train_experts(context, data, network)
    assert not list(experts_root().glob("*/*.safetensors"))
