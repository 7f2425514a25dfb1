"""`predict`: what the model that a run leaves says of images."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from engine.run.errors import BAD_INPUT, Fault, InputError, escaped
from engine.run.folder import expanded
from ltdd_tui.cli.options import AsJson, RunName, RunsDir
from ltdd_tui.cli.output import plain_table, print_data, print_json, print_note
from ltdd_tui.formatting import percent
from ltdd_tui.runs import worker
from ltdd_tui.runs.find import find_run


def predict(
    run: RunName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="image files, or folders of them")],
    runs_dir: RunsDir,
    as_json: AsJson = False,
) -> None:
    """Name the class of images by a run's model: the likeliest class of each, its probability, and the next two.

    Images of any size and kind are decoded and fitted as those of the data set were. The model is one network, the
    first that the evaluation trained on the final set; `show` says how often such networks are right.
    """
    folder = find_run(run, runs_dir)
    if not folder.model.is_file():
        hint = f"`ltdd-tui export {folder.cli_name} --model` trains and writes one"
        raise InputError("the run has no model", str(folder.model), hint)
    paths = [expanded(image) for image in images]
    if missing := [path for path in paths if not path.exists()]:
        raise InputError([Fault("there is no such file or folder", str(path)) for path in missing])
    said = json.loads(worker.answer(["predict", str(folder.root), *(str(path.absolute()) for path in paths)]))
    if "faults" in said:
        raise InputError([Fault(**fault) for fault in said["faults"]])
    answers: list[dict[str, Any]] = said["images"]
    good = [answer for answer in answers if "classes" in answer]
    if as_json:
        print_json(answers)
    elif good:
        table = plain_table("image", "class", "probability", "then", right=("probability",))
        for answer in good:
            (name, share), *others = answer["classes"]
            then = ", ".join(f"{other} {percent(100 * own)}" for other, own in others)
            table.add_row(answer["file"], name, percent(100 * share), then)
        print_data(table)
    bad = [Fault(**answer["fault"]) for answer in answers if "fault" in answer]
    for fault in bad:
        print_note(escaped(f"error: {fault.where}: {fault.what}"))
    if bad:
        raise typer.Exit(BAD_INPUT)
