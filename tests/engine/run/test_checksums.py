"""Checksums: every flipped bit, cut or overwritten part of a file is noticed; what was sealed comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from engine.run.checksums import DamagedFile, sealed_json, sealed_safetensors
from engine.run.event_log import EventLog
from engine.run.events import Evaluated, Stamped, Warned, decode
from engine.run.folder import read_sealed_json, read_verified, verify_file

TENSORS = {"weights": torch.arange(6.0).view(2, 3), "norms": torch.ones(2)}
PLAIN = save(TENSORS, {"ltdd": json.dumps({"class_names": ["checksum", "crc32:0"], "quote": '"'})})
JSON = {"final": {"accuracy_mean": 41.5, "name": 'Ä "x"'}, "class_names": ["checksum", "crc32:0"]}
FILES = {"safetensors": sealed_safetensors(PLAIN), "json": sealed_json(JSON), "list": sealed_json([[0.1], None], None)}


def read(path: Path) -> None:
    """As a reader does: the checksum, then the form."""
    content = read_verified(path)
    if path.suffix == ".safetensors":
        load(content)
    else:
        json.loads(content)


@pytest.mark.parametrize("kind", FILES)
def test_a_flipped_bit_in_any_byte_and_a_part_that_is_missing_are_noticed(tmp_path: Path, kind: str) -> None:
    path, content = tmp_path / f"a.{kind}", FILES[kind]
    path.write_bytes(content)
    read(path)
    assert verify_file(path)
    flipped = [(place, bytes([content[place] ^ 1 << place % 8])) for place in range(len(content))]
    zeroed = [(place, bytes(16)) for place in range(0, len(content) - 16, 16)]
    damages = [content[:place] + part + content[place + len(part) :] for place, part in flipped + zeroed]
    damages += [content[:length] for length in range(0, len(content), 31)]
    for damaged in damages:
        if damaged != content:
            path.write_bytes(damaged)
            with pytest.raises((ValueError, SafetensorError)):
                read(path)


def test_what_was_sealed_comes_back_as_it_was_and_the_same_content_has_the_same_bytes(tmp_path: Path) -> None:
    tensors = load(FILES["safetensors"])
    assert tensors.keys() == TENSORS.keys() and all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert sealed_safetensors(PLAIN) == FILES["safetensors"]
    odd: list[Any] = [{"content": 1}, {"content": {"content": 1}}, {"checksum": "x"}, {"checksum": 1, "content": 2}]
    for value in (JSON, [1, [2.5]], [], {}, "text", None, {"content": 1, "more": 2}, *odd):
        (tmp_path / "a.json").write_bytes(sealed_json(value))
        assert read_sealed_json(tmp_path / "a.json") == value and verify_file(tmp_path / "a.json")


def test_a_checksum_of_somebody_else_is_no_seal_and_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": "x" * 100, "checksum": "sha256:0"}))
    assert read_sealed_json(tmp_path / "a.json")["checksum"] == "sha256:0"
    with pytest.raises(AssertionError, match="metadata with a 'checksum' cannot be sealed"):
        sealed_safetensors(FILES["safetensors"])


def test_a_damaged_line_of_events_is_skipped_and_one_of_an_older_version_is_read(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with EventLog(events) as log:
        log.emit(Evaluated("check", 10, "convnet", 2, 41.5, 0.5, [41.5], {}, [1.0]))
    line = events.read_text()
    assert isinstance(decode(line), Stamped) and isinstance(decode(line.replace(',"crc32"', ', "older"')), Stamped)
    digits = [place for place, character in enumerate(line[:-22]) if character.isdecimal()]
    for place in digits:
        other = line[:place] + chr(ord(line[place]) ^ 1) + line[place + 1 :]
        assert isinstance(decode(other), Warned), other


@pytest.mark.parametrize("content", [PLAIN, json.dumps(JSON).encode(), b"[1]", b"", b"\0" * 200])
def test_a_file_of_an_older_version_has_none_and_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old").write_bytes(content)
    assert read_verified(tmp_path / "old") == content and not verify_file(tmp_path / "old")


def test_damage_far_behind_the_begin_of_a_large_file_is_noticed(tmp_path: Path) -> None:
    content = bytearray(sealed_safetensors(save({"weights": torch.zeros(600_000)})))
    content[-1] ^= 1
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(DamagedFile, match="does not match its checksum"):
        verify_file(tmp_path / "a.safetensors")
