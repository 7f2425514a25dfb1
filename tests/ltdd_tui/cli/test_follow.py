"""Following a run: plain lines, JSON lines, bars, Ctrl-C, detaching, attaching, and every way a run can end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.run.errors import ONE_REQUEST_SECONDS
from engine.run.folder import RunFolder
from engine.run.locks import HELD
from ltdd_tui.cli import progress

ROOT = Path(__file__).parents[3]
Spawn = Callable[..., subprocess.Popen[str]]
SLOW = '{"pause": 0.05, "iterations": 400}'


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the condition was not met in time"
        time.sleep(0.02)


def has_distilled_three_steps(root: Path) -> bool:
    events = root / "events.jsonl"
    return events.exists() and events.read_text().count("matching_step") >= 3


def test_a_pipe_gets_few_plain_lines_and_the_result_table(command: Callable, make_run: Callable) -> None:
    make_run()
    done = command("resume", "first")
    assert done.code == 0
    assert "\x1b" not in done.err + done.out
    assert len(done.err.splitlines()) < 20
    assert "evaluated final at 30 on convnet: 86.9 ± 0.7 % (n=5; many 90.0, medium 80.0, few 70.0)" in done.err
    rows = done.out.splitlines()
    assert [row.split()[0] for row in rows[1:6]] == ["random", "initialization", "representation", "final", "best"]
    assert "86.9 ± 0.7" in rows[4] and "90.0" in rows[4]
    assert "published 53.4 (best checkpoint on the test set) [[R] Table 1], here 86.9 (+33.5)" in rows[6]


def test_json_prints_the_events_as_written(command: Callable, make_run: Callable) -> None:
    root = make_run()
    done = command("resume", "first", "--json")
    assert done.code == 0
    # Their checksums are between the file and its reader.
    assert done.out == re.sub(r',"crc32":"[0-9a-f]{8}"}', "}", (root / "events.jsonl").read_text())
    assert [json.loads(line)["type"] for line in done.out.splitlines()][-1] == "run_finished"
    assert command("watch", "first", "--json").out == done.out


def test_a_failed_run_prints_its_error_once_and_exits_with_1(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    monkeypatch.setenv("FAKE_WORKER", '{"breaks": true}')
    done = command("resume", "first")
    assert done.code == 1 and done.out == ""
    assert "error: matching, iteration 3: the loss is not finite\nhint: lower matching.image_lr" in done.err
    assert done.err.count("not finite") == 1
    as_json = command("resume", "first", "--json")
    assert as_json.code == 1 and as_json.err.count("not finite") == 1
    assert all(json.loads(line) for line in as_json.out.splitlines())


def test_a_killed_worker_is_reported_as_a_crash_with_its_last_output(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    monkeypatch.setenv("FAKE_WORKER", '{"dies_at": 13}')
    done = command("resume", "first")
    assert done.code == 1
    assert "the worker process died (signal 9)" in done.err and "about to die" in done.err
    assert "`ltdd-tui resume first` resumes from iteration 10" in done.err
    assert "Traceback" not in done.err
    assert json.loads(command("runs", "--json").out)[0]["state"] == "crashed"
    monkeypatch.setenv("FAKE_WORKER", "{}")
    again = command("resume", "first")
    assert again.code == 0 and "goes on" in again.err


def test_a_worker_that_writes_no_event_is_reported_as_a_crash(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run()
    monkeypatch.setenv("FAKE_WORKER", '{"mute": true}')
    for more in ([], ["--json"], ["--detach"]):
        done = command("resume", "first", *more)
        assert done.code == 1 and "Segmentation fault of sorts" in done.err, more


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_interrupt_stops_at_a_safe_point_and_resume_continues(
    spawn: Spawn, command: Callable, make_run: Callable, number: int, code: int
) -> None:
    root = make_run()
    process = spawn("resume", "first", FAKE_WORKER=SLOW)
    wait_for(lambda: has_distilled_three_steps(root))
    process.send_signal(number)
    if number == signal.SIGTERM:
        # As `timeout` does: to its child, and to the process group of that.
        process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "stopping at the next safe point" in err and "`ltdd-tui resume first` goes on" in err and out == ""
    assert not RunFolder(root).is_running() and not (root / "stop").exists()
    assert json.loads(command("runs", "--json").out)[0]["state"] == "stopped"
    assert command("resume", "first").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_interrupt_kills_a_worker_that_ignores_the_stop_request(
    spawn: Spawn, make_run: Callable, number: int, code: int
) -> None:
    root = make_run()
    process = spawn("resume", "first", FAKE_WORKER='{"pause": 0.05, "iterations": 400, "deaf": true}')
    wait_for(lambda: has_distilled_three_steps(root))
    process.send_signal(number)
    assert process.stderr is not None
    while "again kills the worker" not in process.stderr.readline():
        assert process.poll() is None
    if number == signal.SIGTERM:
        time.sleep(ONE_REQUEST_SECONDS)
    assert process.poll() is None and RunFolder(root).is_running()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and "killed; the last checkpoint is kept" in err
    assert not RunFolder(root).is_running()


def test_a_detached_run_keeps_running_while_watch_attaches_and_leaves(
    spawn: Spawn, command: Callable, make_run: Callable
) -> None:
    root = make_run()
    began = spawn("resume", "first", "--detach", FAKE_WORKER=SLOW)
    _, err = began.communicate(timeout=30)
    assert began.returncode == 0 and "`ltdd-tui watch first`" in err
    assert RunFolder(root).is_running()
    refused = command("resume", "first")
    assert refused.code == 2 and "a worker is at work on this run" in refused.err
    watcher = spawn("watch", "first")
    wait_for(lambda: has_distilled_three_steps(root))
    # Its first line means that its handler of Ctrl-C is installed.
    assert watcher.stderr is not None and "first starts" in watcher.stderr.readline()
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=30)
    assert watcher.returncode == 0 and "keeps running" in err
    assert RunFolder(root).is_running()
    assert command("stop", "first", "--wait").code == 0
    assert not RunFolder(root).is_running()
    stopped = command("watch", "first")
    assert stopped.code == 130 and "stopped at a safe point" in stopped.err


def test_killing_the_command_line_leaves_the_worker_running(
    spawn: Spawn, command: Callable, make_run: Callable
) -> None:
    root = make_run()
    process = spawn("resume", "first", FAKE_WORKER=SLOW)
    wait_for(lambda: has_distilled_three_steps(root))
    process.kill()
    process.communicate(timeout=10)
    assert RunFolder(root).is_running()
    assert command("stop", "first", "--wait").code == 0


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_progress_bars_which_obey_no_color(spawn: Spawn, make_run: Callable, no_color: str) -> None:
    make_run()
    terminal, terminal_end = pty.openpty()
    process = spawn("resume", "first", stderr=terminal_end, TERM="xterm-256color", NO_COLOR=no_color)
    os.close(terminal_end)
    shown = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            shown += chunk
    out, _ = process.communicate(timeout=30)
    os.close(terminal)
    assert process.returncode == 0 and "86.9 ± 0.7" in out and "\x1b" not in out
    assert b"30/30 iterations" in shown and "\u2501".encode() in shown
    colors = re.findall(rb"\x1b\[[0-9;]+m", shown)
    assert bool(colors) is not bool(no_color)


def test_a_worker_that_is_refused_the_run_says_so_and_nothing_of_an_earlier_end(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_run()
    for earlier in ('{"dies_at": 13}', '{"breaks": true}', "{}"):
        monkeypatch.setenv("FAKE_WORKER", earlier)
        command("resume", "first")
        RunFolder(root).metrics.unlink(missing_ok=True)
        # As for the slower one of two that resume at once: both find no worker.
        with monkeypatch.context() as patch, RunFolder(root).held():
            patch.setattr(RunFolder, "is_running", lambda folder: False)
            refused = command("resume", "first")
        assert refused.code == 2
        assert refused.err.splitlines()[1:] == [f"error: {root}: {HELD}", "hint: `ltdd-tui watch` shows it"]


def test_watching_a_run_that_never_began_says_why(
    command: Callable, make_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WAIT_FOR_WORKER_SECONDS", 0.0)
    root = make_run()
    assert "no worker has begun with this run\nhint: `ltdd-tui resume first`" in command("watch", "first").err
    monkeypatch.setattr(progress, "WAIT_FOR_WORKER_SECONDS", 60.0)
    (root / "events.jsonl").write_bytes(b"\x00\xffgarbage\n[]\n" * 100)
    begun = time.monotonic()
    watched = command("watch", "first")
    assert watched.code == 2 and "hold no start of a run" in watched.err and time.monotonic() - begun < 20


def test_an_estimate_that_is_ended_leaves_no_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    sleeper = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"from ltdd_tui.runs import worker; worker.COMMAND = ({sys.executable!r}, '-c', {sleeper!r}); "
    process = subprocess.Popen([sys.executable, "-c", f"{code}worker.run_and_wait([])"], cwd=ROOT)
    wait_for(lambda: marker.exists() and bool(marker.read_text()))
    process.terminate()
    assert process.wait(timeout=10) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


def test_a_run_in_the_queue_begins_once_the_other_is_over(spawn: Spawn, command: Callable, make_run: Callable) -> None:
    first, second = make_run("first"), make_run("second")
    other = spawn("resume", "first", FAKE_WORKER=SLOW)
    wait_for(lambda: has_distilled_three_steps(first))
    queued = spawn("resume", "second", "--after", "first")
    wait_for(lambda: RunFolder(second).is_running() and (second / "events.jsonl").exists())
    state = {run["name"]: run["state"] for run in json.loads(command("runs", "--json").out)}
    assert state == {"first": "running", "second": "queued"}
    assert "queued behind first" in command("runs").out
    assert command("stop", "first").code == 0
    _, err = queued.communicate(timeout=30)
    other.communicate(timeout=30)
    assert queued.returncode == 0 and "queued: it begins once no worker is at work on first" in err


def test_a_run_can_be_taken_out_of_the_queue(spawn: Spawn, command: Callable, make_run: Callable) -> None:
    make_run("first")
    root = make_run("second")
    with RunFolder(root.parent / "first").held():
        queued = spawn("resume", "second", "--after", "first")
        wait_for(lambda: RunFolder(root).is_running() and (root / "events.jsonl").exists())
        assert command("stop", "second").code == 0
        assert queued.wait(30) == 130
    assert [run["state"] for run in json.loads(command("runs", "--json").out)] == ["waiting", "stopped"]
    assert command("resume", "second", "--after", "second").code == 2
    assert command("run", "quickstart", "--after", "nobody").code == 2
    assert sorted(path.name for path in root.parent.iterdir()) == ["first", "second"], "nothing is left behind"
