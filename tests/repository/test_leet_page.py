"""The page that compares this program with LEET: each row names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_names_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs" / "leet.md").read_text().splitlines() if line.startswith("| ")][2:]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 20
    for row in rows:
        named = re.fullmatch(r".*\| `(test_\w+)` \|", row)
        assert named and f"def {named[1]}(" in tests, row
