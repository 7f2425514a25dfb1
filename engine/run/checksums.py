"""Checksums of files that are read again: one that a disk, a copy or a crash has damaged is noticed before it is used.

A safetensors file holds its checksum first in its metadata, a JSON file as its first key:

    "checksum": "crc32:1a2b3c4d"

It is the CRC-32 of the whole file, taken while those eight digits are zeros; so names, shapes and metadata are covered
as well. Each line of events.jsonl ends with its own, `,"crc32":"1a2b3c4d"}`. A CRC-32 finds every single bit that
flipped, every burst of up to 32, and all but one of 4 billion other damages. It is the fastest in Python's library (a
GB in about a second), but no protection against forgery. Files of older versions hold none, and are read without.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import IO, Any

from pydantic_core import from_json

KEY = "checksum"
_BLANK = "crc32:00000000"
_STORED = re.compile(rb'"checksum": ?"crc32:([0-9a-f]{8})"')
_REST = re.compile(rb'checksum":|: ?"crc32:')
# It stands within so many bytes of the file's begin.
_BEGIN = 80
_CHUNK = 1 << 20


class DamagedFile(ValueError):
    """The content of a file is not what was written: its checksum differs, or it has none and its form is wrong."""

    def __init__(self, what: str = "its content does not match its checksum") -> None:
        super().__init__(what)


def sealed_safetensors(content: bytes) -> bytes:
    """A safetensors file with its checksum added to its metadata. The same content gives the same bytes."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    metadata = header.pop("__metadata__", {})
    assert KEY not in metadata, f"metadata with a {KEY!r} cannot be sealed: it would take the place of the file's own"
    header = {"__metadata__": {KEY: _BLANK, **metadata}} | header
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as safetensors has it
    return _with_checksum(len(text).to_bytes(8, "little") + text, data)


def sealed_json(value: Any, indent: int | None = 2) -> bytes:
    """A value as JSON with its checksum; what is no object is put into one, under `content`.

    So is an object that would be mistaken for such a one, or has a key `checksum`. `unsealed_json` gives it back.
    """
    as_it_is = isinstance(value, dict) and KEY not in value and value.keys() != {"content"}
    fields = value if as_it_is else {"content": value}
    return _with_checksum((json.dumps({KEY: _BLANK} | fields, indent=indent) + "\n").encode())


def unsealed_json(content: bytes) -> Any:
    """The value in a JSON file, without its checksum where it has one; raises DamagedFile as `verified`.

    Raises ValueError for what is no JSON.
    """
    try:
        value = json.loads(verified(content))
    except RecursionError:
        raise ValueError("its lists are nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    if not isinstance(value, dict) or KEY not in value or not is_sealed(content):
        return value
    del value[KEY]
    return value["content"] if value.keys() == {"content"} else value


def is_sealed(content: bytes) -> bool:
    """Whether a file that begins so has a checksum; raises DamagedFile for the rest of one."""
    return _stored(content[:_BEGIN]) is not None


def verified(content: bytes) -> bytes:
    """The content of a file, as it is; raises DamagedFile where it does not match its checksum."""
    if stored := _stored(content[:_BEGIN]):
        _compare(stored, zlib.crc32(memoryview(content)[_BEGIN:], _crc_of_begin(stored)))
    return content


def verify_stream(file: IO[bytes]) -> bool:
    """As `verified`, of a file opened without a buffer, which is read once; returns whether it has a checksum."""
    if not (stored := _stored(file.read(_BEGIN))):
        return False
    crc, chunk = _crc_of_begin(stored), memoryview(bytearray(_CHUNK))
    while size := file.readinto(chunk):  # type: ignore[attr-defined]
        crc = zlib.crc32(chunk[:size], crc)
    _compare(stored, crc)
    return True


def sealed_line(text: str) -> str:
    """A line that is a JSON object, with its checksum as the last key."""
    return f'{text[:-1]},"crc32":"{zlib.crc32(text.encode()):08x}"}}'


def parsed_line(line: str) -> Any:
    """The value in a line of JSON; raises DamagedFile where it does not match its checksum, and ValueError."""
    line = line.rstrip()
    if line[-20:-10] == ',"crc32":"':
        text = f"{line[:-20]}}}"
        if f"{zlib.crc32(text.encode(errors='replace')):08x}" != line[-10:-2]:
            raise DamagedFile
    try:
        return from_json(line)
    except ValueError:
        # File names that are not UTF-8 hold lone surrogates, which only Python's own parser reads.
        return json.loads(line)


def check_form(begin: bytes, size: int) -> None:
    """Raises DamagedFile unless a file of `size` bytes that begins so can be a safetensors file.

    For those of older versions, which hold no checksum.
    """
    if begin[8:9] != b"{" or not 2 <= int.from_bytes(begin[:8], "little") <= size - 8:
        raise DamagedFile("it is no safetensors file")


def _with_checksum(head: bytes, data: bytes | memoryview = b"") -> bytes:
    """A file of these two parts, the first with a blank checksum, which is filled in."""
    stored = _STORED.search(head)
    assert stored and stored.end() <= _BEGIN, "the checksum comes first"
    digits = b"%08x" % zlib.crc32(data, zlib.crc32(head))
    return b"".join((head[: stored.start(1)], digits, head[stored.end(1) :], data))


def _stored(begin: bytes) -> re.Match[bytes] | None:
    """The checksum in the first bytes of a file; None where it has none. Raises DamagedFile for the rest of one."""
    stored = _STORED.search(begin)
    if stored is None and _REST.search(begin):
        raise DamagedFile
    return stored


def _crc_of_begin(stored: re.Match[bytes]) -> int:
    begin = stored.string
    return zlib.crc32(begin[: stored.start(1)] + b"0" * 8 + begin[stored.end(1) :])


def _compare(stored: re.Match[bytes], crc: int) -> None:
    if stored[1] != b"%08x" % crc:
        raise DamagedFile
