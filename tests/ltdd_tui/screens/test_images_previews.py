"""Of a preview only what is looked at is read; what is damaged is told in one line that names the file."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.run.events import Preview
from ltdd_tui.screens.run.images import previews
from ltdd_tui.screens.run.images.previews import Unreadable, read_label, read_sheet

ROWS, COLUMNS, SIDE, CLASSES = 6, 4, 5, 6
PREVIEW = Preview(10, "previews/000010.png", "previews/000010.json", ROWS, COLUMNS, SIDE)
PIXELS = np.random.default_rng(0).integers(0, 256, (ROWS * SIDE, COLUMNS * SIDE, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).dirichlet(np.ones(CLASSES), ROWS * COLUMNS).round(4).tolist()


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "000010.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Callable[..., Path]:
    def write(value: object, indent: int | None = 2) -> Path:
        path = tmp_path / "000010.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value, indent=indent))
        return path

    return write


def pixels_of(row: int, column: int) -> np.ndarray:
    return PIXELS[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]


def test_every_image_is_the_one_at_its_row_and_column(png: Path) -> None:
    sheet = read_sheet(png, PREVIEW, 2, 3)
    for row in range(ROWS):
        for column in range(COLUMNS):
            np.testing.assert_array_equal(np.asarray(sheet.image(row, column)), pixels_of(row, column))


def test_of_a_large_preview_only_the_classes_in_sight_and_their_neighbors_are_kept(
    png: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "WHOLE_BYTES", 0)
    monkeypatch.setattr(previews, "MARGIN_ROWS", 1)
    sheet = read_sheet(png, PREVIEW, 3, 4)
    assert sheet.pixels.size == (COLUMNS * SIDE, 3 * SIDE)
    assert sheet.holds(png, PREVIEW, 2, 5) and not sheet.holds(png, PREVIEW, 1, 4)
    np.testing.assert_array_equal(np.asarray(sheet.image(4, 1)), pixels_of(4, 1))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_pictures_of_any_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    assert read_sheet(tmp_path / "a.png", PREVIEW, 0, 1).image(0, 0).mode == "RGB"


def test_what_is_wrong_with_a_picture_is_told(png: Path, tmp_path: Path) -> None:
    whole = png.read_bytes()
    jpeg = io.BytesIO()
    Image.fromarray(PIXELS).save(jpeg, "JPEG")
    cases = {
        "is no PNG": [b"", b"no picture", jpeg.getvalue()],
        "is 20x30, not 20x35 pixels": [whole],
        "cannot be read": [whole[: len(whole) // 2]],
    }
    for text, contents in cases.items():
        for content in contents:
            png.write_bytes(content)
            taller = Preview(10, PREVIEW.path, PREVIEW.labels, 7 if "35" in text else ROWS, COLUMNS, SIDE)
            with pytest.raises(Unreadable, match=f"previews/000010.png {text}"):
                read_sheet(png, taller, 0, 1)
    with pytest.raises(Unreadable, match="is missing"):
        read_sheet(tmp_path / "gone.png", PREVIEW, 0, 1)
    for nonsense in (tmp_path, tmp_path / "nul\0name"):
        with pytest.raises(Unreadable, match="cannot be read"):
            read_sheet(nonsense, PREVIEW, 0, 1)


def test_damage_anywhere_in_a_picture_is_told_or_seen_but_never_fatal(png: Path) -> None:
    draw, whole = random.Random(0), png.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        png.write_bytes(bytes(damaged))
        try:
            sheet = read_sheet(png, PREVIEW, 0, 1)
        except Unreadable as fault:
            assert len(str(fault).splitlines()) == 1  # noqa: PT017 (whether it is raised depends on the damage)
        else:
            assert sheet.image(0, 0).size == (SIDE, SIDE)


@pytest.mark.parametrize("piece", [1, 7, 64, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
def test_each_label_is_found_without_parsing_the_others(
    labels: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, piece: int, indent: int | None
) -> None:
    monkeypatch.setattr(previews, "PIECE_BYTES", piece)
    path = labels(LABELS, indent)
    for row in range(ROWS):
        for column in range(COLUMNS):
            assert read_label(path, PREVIEW, row, column, CLASSES) == LABELS[row * COLUMNS + column]


DAMAGED: list[tuple[object, str]] = [
    (LABELS[:-1], "does not hold 24 labels but 23"),
    ([*LABELS, LABELS[0]], "does not hold 24 labels but 25"),
    ("", "does not hold 24 labels but 0"),
    ("not json", "does not hold 24 labels but 0"),
    ([label[:-1] for label in LABELS], "label 6 is damaged"),
    ([[*label[:-1], "0.5"] for label in LABELS], "label 6 is damaged"),
    ([[*label[:-1], 1.5] for label in LABELS], "label 6 is damaged"),
    ([[*label[:-1], None] for label in LABELS], "label 6 is damaged"),
    ([[]] * 24, "label 6 is damaged"),
    (json.dumps(LABELS).replace("0.", "0,,"), "label 6 is damaged"),
    (json.dumps(LABELS).replace("]", ""), "label 6 is damaged"),
]


@pytest.mark.parametrize(("content", "told"), DAMAGED, ids=range(len(DAMAGED)))
def test_what_is_wrong_with_labels_is_told(labels: Callable[..., Path], content: object, told: str) -> None:
    with pytest.raises(Unreadable, match=f"previews/000010.json:? {told}"):
        read_label(labels(content), PREVIEW, 1, 1, CLASSES)


def test_labels_that_are_missing_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"previews/000010\.json is missing"):
        read_label(tmp_path / "gone", PREVIEW, 0, 0, None)
    with pytest.raises(Unreadable, match="cannot be read"):
        read_label(tmp_path, PREVIEW, 0, 0, None)
