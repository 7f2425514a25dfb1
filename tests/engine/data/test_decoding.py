"""Pixels of every kind become 8-bit RGB by a rule of their type, or are refused by the name of their file."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from engine.data import decoding
from engine.data.decoding import read_images
from engine.run.errors import InputError
from engine.run.events import Event, Warned
from engine.run.image_headers import common_size, fault_of, header_faults

RAMP = np.arange(256).reshape(16, 16)
"""Every level of 8 bits once, in one image."""
WHITE_IS_ZERO = {TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 0}


def save(file: Path, values: np.ndarray, **tags: object) -> Path:
    Image.fromarray(values).save(file, **tags)
    return file


def read(*files: Path, warnings: list[Event] | None = None) -> np.ndarray:
    return read_images(files, 16, None if warnings is None else warnings.append).numpy()


def refused(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(file)
    assert [fault.where for fault in caught.value.faults] == [str(file)]
    return caught.value.faults[0].what


def unsigned_32(file: Path, values: np.ndarray) -> Path:
    """A TIFF that Pillow can read but not write."""
    content = values.astype("<u4").tobytes()
    height, width = values.shape
    entries = [(256, 3, width), (257, 3, height), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    entries += [(277, 3, 1), (278, 3, height), (279, 4, len(content)), (339, 3, 1)]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(content))
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    file.write_bytes(head + content + struct.pack("<H", len(entries)) + tags + bytes(4))
    return file


def color_of_16_bits(file: Path, values: np.ndarray, alpha: np.ndarray | None = None) -> Path:
    """A PNG that Pillow can read but not write."""
    bands = [values] * 3 + ([] if alpha is None else [alpha])
    rows = np.stack(bands, axis=-1).astype(">u2")
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", *values.shape[::-1], 16, 2 if alpha is None else 6, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", content), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(own)) + kind + own + struct.pack(">I", zlib.crc32(kind + own)) for kind, own in chunks
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return file


@pytest.mark.parametrize(
    ("ending", "values"),
    [
        ("tif", (RAMP / 255).astype(np.float32)),
        ("tif", (RAMP * 257).astype(np.uint16)),
        ("png", (RAMP * 257).astype(np.uint16)),
        ("pgm", (RAMP * 257).astype(np.uint16)),
        ("tif", (RAMP * 257).astype(">u2")),
        ("tif", ((RAMP * (2**31 - 1) + 254) // 255).astype(np.int32)),
        ("tif", RAMP.astype(np.uint8)),
        ("png", RAMP.astype(np.uint8)),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_pixels_of_more_bits_keep_all_levels(tmp_path: Path, ending: str, values: np.ndarray) -> None:
    gray = read(save(tmp_path / f"ramp.{ending}", values))
    assert (gray == RAMP).all()


def test_whole_numbers_are_scaled_by_the_range_of_their_type_and_never_by_that_of_an_image(tmp_path: Path) -> None:
    assert (read(unsigned_32(tmp_path / "unsigned.tif", RAMP * 16843009)) == RAMP).all()
    inverse = save(tmp_path / "inverse.tif", (RAMP * 257).astype(np.uint16), tiffinfo=WHITE_IS_ZERO)
    assert (read(inverse) == 255 - RAMP).all()
    dim, bright = (save(tmp_path / f"{top}.png", (RAMP * top).astype(np.uint16)) for top in (64, 257))
    assert [image.max() for image in read(dim, bright)] == [63, 255]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (RAMP.astype(np.float32), "float pixels from 0 to 255, where 0 is black and 1 white"),
        ((RAMP / 255 - 0.5).astype(np.float32), "float pixels from -0.5 to 0.5, where 0 is black and 1 white"),
        (np.where(RAMP == 3, np.nan, 0.5).astype(np.float32), "float pixels that are NaN or infinite"),
        (np.where(RAMP == 3, np.inf, 0.5).astype(np.float32), "float pixels that are NaN or infinite"),
        (RAMP.astype(np.int32) - 9, "signed 32-bit pixels from -9 to 246, where 0 is black and 2,147,483,647 white"),
        (RAMP.astype(np.int32), "signed 32-bit pixels up to 255 only: all would be black, as 2,147,483,647 is white"),
        (RAMP.astype(np.uint16), "16-bit pixels up to 255 only: all would be black, as 65,535 is white"),
    ],
    ids=["0..255", "negative", "nan", "inf", "negative int", "8 bits in 32", "8 bits in 16"],
)
def test_pixels_that_fit_no_rule_are_refused_with_what_was_seen(tmp_path: Path, values: np.ndarray, told: str) -> None:
    assert refused(save(tmp_path / "odd.tif", values)) == told


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_a_picture_of_every_mode_stays_itself(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(np.repeat(np.where(RAMP % 16 < 8, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    converted = picture.convert(mode)
    converted.save(tmp_path / "picture.tif", compression="jpeg" if mode == "YCbCr" else None, quality=100)
    difference = read(tmp_path / "picture.tif")[0].transpose(1, 2, 0).astype(int) - np.asarray(picture)
    assert np.abs(difference).max() <= 2


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    Image.new("LAB", (16, 16), (128, 128, 128)).save(tmp_path / "lab.tif")
    assert read(tmp_path / "lab.tif")[0, :, 0, 0].tolist() == [119, 119, 119]


def test_images_without_contrast_and_files_of_several_pictures_are_warned_of(tmp_path: Path) -> None:
    ramp = Image.fromarray(RAMP.astype(np.uint8))
    for ending in ("gif", "tif", "webp", "png"):
        ramp.save(tmp_path / f"two.{ending}", save_all=True, append_images=[Image.new("L", (16, 16), 9)])
    ramp.convert("RGB").save(tmp_path / "camera.jpg", "MPO", save_all=True, append_images=[ramp.convert("RGB")])
    flat = [save(tmp_path / f"flat{i}.png", np.full((16, 16, 3), (9, 200, i), dtype=np.uint8)) for i in range(5)]
    several = [tmp_path / f"two.{ending}" for ending in ("gif", "tif", "webp", "png")]
    warnings: list[Event] = []
    images = read(*several, tmp_path / "camera.jpg", *flat, warnings=warnings)
    assert all(image.std() > 60 for image in images[:4]), "the first picture is taken"
    assert [warning.message for warning in warnings if isinstance(warning, Warned)] == [
        f"5 of 10 images without contrast: all their pixels are alike ({flat[0]}, {flat[1]}, {flat[2]} and 2 more)",
        "4 of 10 images with several pictures in one file: the first is taken"
        f" ({several[0]}, {several[1]}, {several[2]} and 1 more)",
    ]


def test_images_that_are_dark_all_over_are_warned_of_whatever_their_type(tmp_path: Path) -> None:
    dark = [
        save(tmp_path / "camera.tif", (RAMP * 16).astype(np.uint16)),
        color_of_16_bits(tmp_path / "camera.png", RAMP * 16),
        save(tmp_path / "mask.png", (RAMP % 2).astype(np.uint8)),
    ]
    warnings: list[Event] = []
    images = read(*dark, save(tmp_path / "light.png", (RAMP // 7).astype(np.uint8)), warnings=warnings)
    assert [image.max() for image in images] == [15, 15, 1, 36]
    assert [warning.message for warning in warnings if isinstance(warning, Warned)] == [
        "3 of 4 images that are dark all over: no pixel reaches an eighth of white"
        f" ({', '.join(str(file) for file in dark)})"
    ]


def test_color_of_16_bits_that_would_be_lost_is_refused_and_a_black_drawing_is_not(tmp_path: Path) -> None:
    lost = "16-bit color with nothing in the upper 8 bits: no pixel would be seen"
    assert refused(color_of_16_bits(tmp_path / "lost.png", RAMP)) == lost
    assert refused(color_of_16_bits(tmp_path / "opaque.png", RAMP, alpha=RAMP * 0 + 255)) == lost
    drawing = color_of_16_bits(tmp_path / "drawing.png", RAMP * 0, alpha=RAMP * 257)
    assert (read(drawing) == 255 - RAMP).all()
    assert (read(color_of_16_bits(tmp_path / "full.png", RAMP * 257)) == RAMP).all()


def test_floats_a_hair_outside_of_0_to_1_are_clipped(tmp_path: Path) -> None:
    floats = np.where(RAMP == 0, -2e-7, np.where(RAMP == 255, 1.0009, RAMP / 255)).astype(np.float32)
    assert (read(save(tmp_path / "resized.tif", floats)) == RAMP).all()
    told = "float pixels from 0 to 1.0012, where 0 is black and 1 white"
    assert refused(save(tmp_path / "odd.tif", (RAMP / 255 * 1.0012).astype(np.float32))) == told


def test_a_turned_photo_stands_upright_though_another_tag_of_it_is_invalid(tmp_path: Path) -> None:
    photo = Image.new("RGB", (32, 16), "blue")
    photo.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x0100] = 7
    content = exif.tobytes().replace(struct.pack("<HHII", 0x0100, 3, 1, 7), struct.pack("<HHII", 0x0100, 12, 1, 7))
    photo.save(tmp_path / "photo.jpg", exif=content, quality=100)
    assert read(tmp_path / "photo.jpg")[0, :, 8].T.tolist()[2][2] > 200


@pytest.mark.parametrize("error", [struct.error("argument out of range"), RuntimeError("decoder"), SystemError("x")])
def test_any_error_while_a_file_is_decoded_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    file = save(tmp_path / "ramp.png", RAMP.astype(np.uint8))
    monkeypatch.setattr(decoding, "_rgb", fails)
    assert refused(file) == f"this is no image that can be read: {error}"


@pytest.mark.parametrize("code", [None, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_what_the_system_lacks_is_blamed_on_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    error = MemoryError() if code is None else OSError(code, os.strerror(code))

    def fails(*_: object, **__: object) -> None:
        raise error

    file = save(tmp_path / "ramp.png", RAMP.astype(np.uint8))
    monkeypatch.setattr(Image, "open", fails)
    for reading in (read, lambda file: header_faults([file]), lambda file: common_size([file])):
        with pytest.raises(type(error)) as raised:
            reading(file)
        assert raised.value is error


@pytest.mark.parametrize(("code", "hint"), [(errno.EACCES, "permissions"), (errno.EIO, "disk"), (errno.ESTALE, "disk")])
def test_a_file_that_the_system_cannot_read_is_named(tmp_path: Path, code: int, hint: str) -> None:
    fault = fault_of(tmp_path / "a.png", OSError(code, os.strerror(code)))
    assert fault.where == str(tmp_path / "a.png") and hint in fault.hint
    assert ("take it away" in fault.hint) == (code == errno.EACCES)


def test_of_many_unreadable_files_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(*(tmp_path / f"{i}.png" for i in range(2000)))
    assert len(caught.value.faults) == 21
    assert [fault.what for fault in caught.value.faults[19:]] == ["the image is missing", "1,980 more like these"]
