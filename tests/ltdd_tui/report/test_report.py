"""The report on a sweep: what its three files say, and that the page needs nothing but itself."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ltdd_tui.cli.report import not_of_a_report
from ltdd_tui.report.accuracy import over_settings
from ltdd_tui.report.cells import report_cells
from ltdd_tui.report.details import images
from ltdd_tui.report.document import Document, Folded, Heading, Listing, Picture, Pictures, Strong
from ltdd_tui.report.report import asked_for, read_subject, summary, tidy_table, verdicts
from ltdd_tui.runs.tables import Table
from tests.integration.browser import chromium, new_page
from tests.ltdd_tui.recorded import END, NAMES, VERDICT, record
from tests.ltdd_tui.report.sweep_on_disk import FAILED, MEAN, WAITING

UNCLEAN = "\x9b\u202ea|b <script>alert(1)</script> `x` *y* $z$ \x1b[31m"


@pytest.fixture(scope="module")
def written(sweep_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report on the sweep."""
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    from ltdd_tui.cli.report import report

    out: Path = tmp_path_factory.mktemp("out") / "report"
    report(["mini"], sweep_folder.parent, str(out))
    return out


@pytest.fixture(scope="module")
def markdown(written: Path) -> str:
    return (written / "report.md").read_text()


def rows_of(markdown: str, first_title: str) -> dict[str, list[str]]:
    """The rows of the table whose first column has that title, by their first cell."""
    lines = markdown[markdown.index(f"| {first_title} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_the_table_has_methods_down_and_cells_across_with_the_best_in_bold(markdown: str) -> None:
    rows = rows_of(markdown, "method")
    assert rows["method"] == ["IF 50, IPC 10", "IF 100, IPC 10"]
    assert rows["ltdd"] == [f"**{MEAN + 2:.1f} ± 1.0**", f"**{MEAN:.1f} ± 1.0**"]
    assert rows["datm"][1] == f"{MEAN - 24.5:.1f} ± 0.7"


def test_every_cell_tells_n_lead_published_difference_and_share_of_the_bound(markdown: str) -> None:
    rows = rows_of(markdown, "cell")
    own = dict(zip(rows["cell"], rows["ltdd, IF 100"], strict=True))
    assert own["n"] == "3 seeds" and own["random"] == "27.9 ± 0.0"
    assert re.fullmatch(r"\+25\.0 \(\+22\.\d to \+27\.\d\)", own["over random"])
    assert (own["published"], own["over published"]) == ("53.4", f"{MEAN - 53.4:+.1f}")
    assert re.fullmatch(r"8\d %", own["of bound"])
    assert "Over three seeds or fewer" in markdown


def test_values_of_one_setting_rise_and_lie_on_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    for place, rate in enumerate((10.0, 1.0, 5.0)):
        config = record(tmp_path / str(place), "done", 20).config
        config.write_text(re.sub(r"image_lr: [\d.]+", f"image_lr: {rate}", config.read_text(), count=1))
    cells = report_cells(read_subject(asked_for([str(tmp_path)], tmp_path)).runs)
    assert [cell.name for cell in cells] == ["image_lr 1", "image_lr 5", "image_lr 10"]
    _, pictures = over_settings(cells)
    assert isinstance(pictures, Pictures) and len(pictures.pictures) == 1


def test_what_is_not_finished_is_told_with_why(markdown: str) -> None:
    assert "Finished runs: 10 of 12." in markdown
    rows = rows_of(markdown, "run")
    assert rows[FAILED][0] == "failed" and "a matching loss or gradient is not finite" in rows[FAILED][1]
    assert f"Waiting for a worker (1): {WAITING}\n" in markdown


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("failed", "distill, iteration 12, expert 2 epoch 7: a matching loss or gradient is not finite (rep nan,"),
        ("crashed", "the worker process died; it printed: terminate called after throwing"),
        ("stopped", "% in its last check"),
        ("empty", ""),
    ],
)
def test_a_run_that_did_not_finish_says_why(tmp_path: Path, status: str, why: str) -> None:
    record(tmp_path / "one", status, 20)
    (one,) = read_subject(asked_for([str(tmp_path / "one")], tmp_path)).unfinished
    assert one.state == ("waiting" if status == "empty" else status)
    assert why in one.why


def test_confidence_of_the_tail_stands_beside_its_accuracy(markdown: str) -> None:
    rows = rows_of(markdown[markdown.index("Many, medium and few") :], "cell")
    own = dict(zip(rows["cell"], rows["ltdd, IF 100"], strict=True))
    few = sum(END[7:]) / 3
    assert (own["few"], own["confidence, few"]) == (f"{few:.1f}", f"{0.8 * few:.1f}")


def test_markdown_names_pictures_that_are_there(markdown: str, written: Path) -> None:
    named = set(re.findall(r"\]\((report-pictures/[^)]+)\)", markdown))
    assert named == {f"report-pictures/{path.name}" for path in (written / "report-pictures").iterdir()}
    kinds = {name.partition("/")[2].split("-")[0].split(".")[0] for name in named}
    assert kinds >= {"accuracy", "over", "loss", "checks", "classes", "confidence", "norms", "confusion", "images"}


@pytest.mark.parametrize("other", ["report.html", "report.md", "report.csv", "report-pictures"])
def test_a_report_replaces_only_files_of_an_earlier_one(written: Path, tmp_path: Path, other: str) -> None:
    assert not_of_a_report(written) is None and not_of_a_report(tmp_path) is None
    shutil.copytree(written, tmp_path / "report")
    path = tmp_path / "report" / other
    if path.is_dir():
        (tmp_path / "report/report.md").unlink()  # which they are the pictures of
    else:
        path.write_text("my own\n")
    assert not_of_a_report(tmp_path / "report") == other
    path.rename(tmp_path / other)
    assert not_of_a_report(tmp_path) == other


def test_the_csv_has_a_row_for_each_figure_of_each_run_and_regime(written: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((written / "report.csv").read_text())))
    finals = [row for row in rows if (row["figure"], row["part"]) == ("final", "all")]
    assert len(finals) == 10 and {row["unit"] for row in finals} == {"%"}
    own = {row["run"]: row for row in finals}["ltdd-if50-seed1"]
    assert (own["method"], own["dataset.imbalance_factor"], own["seed"]) == ("ltdd", "50.0", "1")
    assert float(own["value"]) == pytest.approx(MEAN + 3) and own["n"] == "3"
    parts = {row["part"] for row in rows if row["run"] == "ltdd-if50-seed1" and row["figure"] == "final"}
    assert parts == {"all", "many", "medium", "few", *(f"class:{name}" for name in NAMES)}


def test_the_page_is_small_and_names_no_other_file(written: Path) -> None:
    page = (written / "report.html").read_text()
    assert len(page) < 1_500_000
    links = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
    assert [link for link in links if not link.startswith(("data:", "#"))] == []
    assert "<script" not in page and "@import" not in page


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
def test_a_browser_shows_the_whole_page_wide_and_narrow_light_and_dark(written: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    said: list[str] = []
    with new_page(1200, 900) as page:
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
        page.goto((written / "report.html").as_uri())
        for width in (1200, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            tables = page.locator("table:not(details *)")
            assert tables.count() >= 5 and all(table.is_visible() for table in tables.all())
            sizes = page.evaluate(
                "[...document.querySelectorAll('svg, img')].map(one => one.getBoundingClientRect().width)"
            )
            assert len(sizes) >= 15 and all(250 <= size <= width for size in sizes)
        inks = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            inks.append(page.evaluate("getComputedStyle(document.querySelector('svg text')).fill"))
        assert inks == ["rgb(31, 35, 40)", "rgb(230, 237, 243)"]
    assert said == [(written / "report.html").as_uri()]


def test_names_cannot_become_markup_or_break_a_table() -> None:
    blocks = [
        Heading(UNCLEAN),
        UNCLEAN,
        Table((UNCLEAN, "n"), ((UNCLEAN, 1), (Strong("5.0"), 2))),
        Listing([UNCLEAN]),
        Folded("more", Table(("a",), ((UNCLEAN,),))),
        Pictures([Picture("p", UNCLEAN, "<svg x></svg>")]),
    ]
    document = Document(UNCLEAN, blocks)
    page, markdown = document.as_html(), document.as_markdown("pictures")
    assert (
        "<script" not in page
        and not {"\x1b", "\x9b", "\u202e"} & set(page + markdown)
        and "<strong>5.0</strong>" in page
    )
    row = next(line for line in markdown.splitlines() if line.endswith("| 1 |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_without_matplotlib_one_line_says_how_to_install_it(
    command: Callable, sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = command("report", str(sweep_folder), "-o", str(tmp_path / "out"))
    assert done.code == 2
    assert done.err.splitlines() == [
        "error: report: matplotlib, which draws its plots, is not installed",
        'hint: pip install "ltdd-tui[report]"',
    ]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_costs_one_line(
    command: Callable, sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    monkeypatch.setattr("ltdd_tui.report.report.report", lambda subject: Document("empty", []))
    (tmp_path / "file").touch()
    done = command("report", str(sweep_folder), "-o", str(tmp_path / "file/below"))
    assert done.code == 2
    what, hint = done.err.splitlines()
    assert str(tmp_path / "file") in what and what.endswith("the report cannot be written: Not a directory")
    assert hint == "hint: -o names the folder of the report"


@pytest.mark.parametrize(
    ("damaged", "mean", "why"),
    [
        (["config.yaml"], MEAN + 3, []),
        (["events.jsonl"], MEAN + 3, ["events.jsonl: it holds no start of the run"]),
        (["manifest.json", "previews/000020.png", "result/confusion.json"], MEAN + 2.5, []),
    ],
)
def test_a_damaged_file_costs_its_own_figures_and_no_more(
    sweep_folder: Path, tmp_path: Path, damaged: list[str], mean: float, why: list[str]
) -> None:
    for name in ("ltdd-if50-seed0", "ltdd-if50-seed1"):
        shutil.copytree(sweep_folder / name, tmp_path / "some" / name)
    for name in damaged:
        (tmp_path / "some" / "ltdd-if50-seed0" / name).write_bytes(b"\x00damage: [\n")
    subject = read_subject(asked_for([str(tmp_path / "some")], tmp_path))
    (cell,) = report_cells(subject.runs)
    assert cell.final is not None and cell.final.mean == pytest.approx(mean)
    assert [one.why for one in subject.unfinished] == why
    assert len(tidy_table(subject.runs).rows) > 50
    assert ("Left out" in {block.text for block in summary(subject, [cell]) if isinstance(block, Heading)}) == (
        damaged == ["config.yaml"]
    )
    assert [picture.name for picture in images([cell])] == ([] if "previews/000020.png" in damaged else ["images-0"])


def test_a_verdict_stands_first_with_the_table_behind_it(tmp_path: Path) -> None:
    record(tmp_path / "judged", "judged", 20)
    subject = read_subject(asked_for(["judged"], tmp_path))
    heading, text, table = verdicts(subject.runs)
    assert heading == Heading("Verdict") and isinstance(text, str) and text.startswith(f"judged: {VERDICT}")
    assert "kept iteration 18" in text and "10,000 test images, which no choice has seen" in text
    assert isinstance(table, Table) and table.titles[0] == "trained on" and table.rows[3][0] == "the distilled set"
