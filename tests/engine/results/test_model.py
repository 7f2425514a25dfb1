"""The model beside a result: what the evaluation trained, for pixels, in any program with PyTorch."""

from __future__ import annotations

import importlib.util
import re
import zipfile
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine import pipeline
from engine.context import Context
from engine.data.sources import load_digits_source
from engine.results.model import predictions_of, read_model, write_onnx
from engine.run.errors import InputError
from engine.run.folder import RunFolder, read_json
from engine.stages.evaluate import evaluate, synthetic_target
from tests.engine.tiny_run import finish_run, tiny_data, tiny_set, tiny_settings

SETTINGS = tiny_settings(export={"model": True})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A run whose final set is evaluated, and whose model is written."""
    context, data = finish_run(tmp_path_factory.mktemp("run"), SETTINGS), tiny_data(SETTINGS)
    final = tiny_set(data)
    with pytest.MonkeyPatch.context() as patch:
        # An empty one: of networks that an earlier run has trained alike there are no weights.
        patch.setenv("LTDD_CACHE", str(tmp_path_factory.mktemp("cache")))
        evaluate(context, data, synthetic_target(context, data, "final", "set", 3, final), "convnet", 2)
    pipeline._write_model(context, data, 3, final, None, {"class_names": list("abcdefghij"), "channels": 1} | SIZE)
    return context


SIZE: dict[str, Any] = {"image_size": 8}


def test_the_model_is_the_first_network_of_the_evaluation_and_whitens_pixels_as_it_did(finished: Context) -> None:
    program, about = read_model(finished.folder)
    test = load_digits_source(SETTINGS.dataset).test
    pixels = test.read(torch.arange(len(test.labels)).numpy())
    guesses = program.module()(pixels).argmax(1)
    right = [float((guesses[torch.tensor(test.labels == c)] == c).float().mean()) * 100 for c in range(10)]
    first = read_json(finished.folder.evaluations / "set-000003-convnet-0.json")[0]
    assert right == pytest.approx(first["per_class"], abs=2.6), "but for one image, by rounding"
    assert about["class_names"] == list("abcdefghij")
    with pytest.raises(RuntimeError, match="dtype"):
        program.module()(pixels.float())


def test_a_model_that_was_not_kept_is_trained_once_more_to_the_same_weights(finished: Context, tmp_path: Path) -> None:
    kept = {file.name: file.read_bytes() for file in finished.folder.evaluations.glob("*.safetensors")}
    assert list(kept) == ["set-000003-convnet-0.safetensors"]
    own = replace(finished, folder=RunFolder(tmp_path))
    data = tiny_data(SETTINGS)
    pipeline._write_model(own, data, 3, tiny_set(data), None, {"class_names": [], "channels": 1} | SIZE)
    models = [read_model(folder)[0] for folder in (finished.folder, own.folder)]
    one, other = ([*model.state_dict.values(), *model.constants.values()] for model in models)
    for a, b in zip(one, other, strict=True):
        # Alone, and not beside a second network, its steps may round otherwise.
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_images_of_any_kind_get_their_likeliest_classes_and_bad_files_a_fault(
    finished: Context, tmp_path: Path
) -> None:
    digit = torch.arange(64, dtype=torch.uint8).view(8, 8).numpy() * 4
    for name, mode, size in (("a.png", "L", (8, 8)), ("b.png", "RGB", (8, 8)), ("c.png", "RGBA", (90, 60))):
        Image.fromarray(digit).convert(mode).resize(size).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_text("no image")
    (tmp_path / ".DS_Store").touch()
    answers = list(predictions_of(finished.folder, [tmp_path, tmp_path / "a.png"]))
    assert [Path(answer["file"]).name for answer in answers] == ["a.png", "b.png", "bad.jpg", "c.png", "a.png"]
    assert answers[0]["classes"] == answers[1]["classes"] == answers[4]["classes"], "gray in color is the same image"
    assert "no image" in answers[2]["fault"]["what"]
    for answer in (answers[0], answers[3]):
        shares = [share for _, share in answer["classes"]]
        assert len(shares) == 3 and shares == sorted(shares, reverse=True) and shares[0] >= 0.1


def test_without_a_model_or_with_a_damaged_one_it_is_said_what_writes_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "mine")
    for content in (None, b"no model"):
        if content:
            folder.result.mkdir(parents=True)
            folder.model.write_bytes(content)
        with pytest.raises(InputError, match=f"`ltdd-tui export {folder.root} --model` trains and writes one"):
            read_model(folder)


def test_a_flipped_bit_in_a_model_is_noticed(finished: Context, tmp_path: Path) -> None:
    folder, content = RunFolder(tmp_path), bytearray(finished.folder.model.read_bytes())
    with zipfile.ZipFile(finished.folder.model) as file:
        largest = max(file.infolist(), key=lambda part: part.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    folder.result.mkdir()
    folder.model.write_bytes(content)
    with pytest.raises(InputError, match="its content does not match its checksum"):
        read_model(folder)


def test_the_cards_way_to_ask_the_model_needs_pytorch_alone(finished: Context, capsys: pytest.CaptureFixture) -> None:
    about = {"class_names": ["a"] * 10} | SIZE
    metrics = read_json(finished.folder.metrics)
    assert "model.pt2" not in finished.folder.card.read_text()
    pipeline.write_metrics_and_card(finished.folder, metrics, pipeline.describe(SETTINGS, tiny_data(SETTINGS)) | about)
    card = finished.folder.card.read_text()
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert "ltdd" not in code.replace("ltdd-tui", "") and "engine" not in code and len(code.splitlines()) <= 10
    Image.new("RGB", (30, 20), "teal").save(finished.folder.result / "photo.jpg")
    with chdir(finished.folder.result):
        exec(code, {})
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs pip install 'ltdd-tui[onnx]' and onnxruntime",
)
def test_as_onnx_it_gives_the_same_logits(finished: Context) -> None:
    import onnxruntime

    write_onnx(finished.folder)
    pixels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    (logits,) = onnxruntime.InferenceSession(finished.folder.onnx).run(None, {"pixels": pixels.numpy()})
    torch.testing.assert_close(torch.tensor(logits), read_model(finished.folder)[0].module()(pixels))
