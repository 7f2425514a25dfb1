"""manifest.json: one that is something else is as good as none; origins that differ are told; newer runs refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.run.errors import InputError
from engine.run.folder import RunFolder
from engine.run.manifest import Manifest, Origin, Worker, change_manifest, newer_version, read_manifest, refuse_newer


def origin(**changes: Any) -> Origin:
    versions = {"torch": "2.14.1+cpu", "ltdd-tui": "0.1.0", "python": "3.11.7"}
    whole = {"device": "cpu", "device_name": "Xeon, AVX512", "threads": 4, "versions": versions, "compiler": "g++ 12"}
    return Origin(**whole | changes)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, []),
        ({"threads": 8}, ["threads 8 (here 4)"]),
        ({"device_name": "Xeon, AVX2"}, ["on Xeon, AVX2 (here Xeon, AVX512)"]),
        ({"versions": {"torch": "2.13.0", "ltdd-tui": "0.1.0"}}, ["torch 2.13.0 (here 2.14.1+cpu)"]),
        ({"compiler": "clang 17"}, ["compiled by clang 17 (here g++ 12)"]),
        # Of an older version nothing is known of the compiler; another Python computes the same.
        ({"compiler": None}, []),
        ({"versions": {"torch": "2.14.1+cpu", "ltdd-tui": "0.1.0", "python": "3.12.0"}}, []),
    ],
)
def test_an_origin_differs_in_what_decides_the_last_digits(other: dict[str, Any], told: list[str]) -> None:
    assert origin(**other).differences(origin()) == told


def test_threads_and_the_number_of_a_gpu_are_no_difference_between_gpus() -> None:
    one, other = ({"device": f"cuda:{number}", "device_name": "H200", "threads": number} for number in (1, 2))
    assert origin(**one).differences(origin(**other)) == []


def test_workers_of_one_origin_are_no_mixture_and_those_of_two_are_told(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    workers = [Worker(**vars(origin()), host=host) for host in ("a", "b")]
    change_manifest(folder, workers=workers)
    assert list(read_manifest(folder).mixture()) == []
    change_manifest(folder, workers=[*workers, Worker(**vars(origin(threads=8)), host="c")])
    (told,) = read_manifest(folder).mixture()
    assert told == (
        "made by 2 workers: cpu (Xeon, AVX512, 4 threads), torch 2.14.1+cpu on a;"
        " cpu (Xeon, AVX512, 8 threads), torch 2.14.1+cpu on c"
    )


def test_the_worker_of_an_older_manifest_is_known_from_its_other_fields(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    old = {"schema": 1, "device": "cpu", "device_name": "Xeon", "threads": 2, "versions": {"torch": "2.1"}, "new": [1]}
    folder.manifest.write_text(json.dumps(old))
    (worker,) = read_manifest(folder).made_by
    assert (worker.threads, worker.versions, worker.compiler) == (2, {"torch": "2.1"}, None)
    change_manifest(folder, same_bytes=True)
    written = json.loads(folder.manifest.read_text())
    del written["checksum"]
    assert written == old | {"same_bytes": True}, "what this version does not know stays, and nothing else is added"


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '"text"', "null", '{"threads": "4"}', '{"workers": [{}]}'])
def test_a_manifest_that_is_something_else_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    folder = RunFolder(tmp_path)
    folder.manifest.write_text(content)
    assert read_manifest(folder) == Manifest()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", '{"checksum": "crc32:00000000", "schema": 9, "created": ""}'),
        ("result/metrics.json", '{\n  "schema": 9,\n  "final": {}}'),
        ("events.jsonl", '{"v":9,"seq":0,"t":1.0,"type":"run_started"}\n'),
    ],
)
def test_a_run_of_a_newer_version_says_so(tmp_path: Path, name: str, content: str) -> None:
    folder = RunFolder(tmp_path)
    assert newer_version(folder) == ""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    file = Path(name).name
    assert newer_version(folder) == f"made by a newer version ({file} has schema 9; this one reads up to 1)"
    with pytest.raises(InputError, match="made by a newer version"):
        refuse_newer(folder)
    (tmp_path / name).write_text(content.replace("9", "1", 1))
    assert newer_version(folder) == ""
