"""The state: pure, the same however events are cut into batches, and honest about what it does not know."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.run import events as e
from ltdd_tui.runs.figures import class_accuracies
from ltdd_tui.runs.messages import log_message
from ltdd_tui.runs.replay import frames
from ltdd_tui.runs.rows import rows_from_state
from ltdd_tui.runs.state import RunState, crashed_if_worker_died, fold

STAGES = ["data", "experts", "distill", "evaluate"]


def stamp(*events: e.Event, start: int = 0, every: float = 1.0) -> list[e.Stamped | e.Warned]:
    return [e.Stamped(start + place, 1000.0 + (start + place) * every, event) for place, event in enumerate(events)]


def started(resumed: bool = False) -> e.RunStarted:
    return e.RunStarted("x", "ltdd", "digits", 50.0, 2, 0, "convnet", "cpu", STAGES, 100, "h", 7, resumed)


def step(iteration: int) -> e.MatchingStep:
    return e.MatchingStep(iteration, 1.0 / iteration, None, 0.05, 0.1)


def check(iteration: int | None, subject: str = "check", mean: float = 50.0) -> e.Evaluated:
    return e.Evaluated(subject, iteration, "convnet", 1, mean, 0.0, [mean, mean], {"many": mean, "few": None}, [1.0])


def expert(number: int, accuracy: float) -> e.ExpertDone:
    return e.ExpertDone("classifier", number, False, accuracy, [accuracy, accuracy - 10], [1.0, 1.0])


def test_a_run_has_only_the_stages_of_its_method() -> None:
    every = ["data", "experts", "classifier_experts", "initialize", "baselines", "distill", "evaluate", "export"]
    counts = {"ltdd": 8, "ed": 8, "dam": 7, "datm": 7, "mtt": 7, "random": 5, "of-a-later-version": 8}
    for method, count in counts.items():
        state = fold(RunState(), stamp(replace(started(), method=method, stages=every)))
        assert len(state.stages.by_name) == count, method
        assert list(state.stages.by_name) == [name for name in every if name in state.stages.by_name]


def test_what_a_finished_run_is_asked_for_later_is_no_part_of_its_time() -> None:
    def evaluation(seconds: float) -> tuple[e.Event, ...]:
        return e.StageStarted("evaluate", 2, "networks"), e.StageDone("evaluate", seconds)

    state = fold(RunState(), stamp(started(), *evaluation(30.0), e.RunFinished(50.0, 0.0), *evaluation(7.0)))
    assert state.stages.by_name["evaluate"].seconds == 30.0


def test_a_run_with_a_teacher_has_the_stages_that_it_names() -> None:
    named = ["data", "experts", "classifier_experts", "teacher", "evaluate"]
    state = fold(RunState(), stamp(replace(started(), method="random", stages=named)))
    assert list(state.stages.by_name) == named
    assert state.has_stage("distill", "teacher") and not state.has_stage("distill")
    assert RunState().has_stage("distill"), "a run whose plan is not known yet"
    told = e.StageStarted("teacher", 2, "networks"), e.ExpertEpoch("teacher", 0, 3, 4, 0.7)
    assert fold(state, stamp(*told)).stages.by_name["teacher"].done == 0.75
    # A resumed worker goes on from the last epoch, and an epoch counts once.
    again = stamp(
        *told, replace(started(True), method="random", stages=named), told[0], e.ExpertEpoch("teacher", 0, 4, 4, 0.6)
    )
    assert fold(state, again).stages.by_name["teacher"].done == 1.0


def whole_run() -> list[e.Stamped | e.Warned]:
    return [
        *stamp(
            started(),
            e.DataReady(["a", "b"], [9, 1], ["many", "few"], "thirds", 4, 2.0),
            e.StageStarted("experts", 2, "experts"),
            e.ExpertEpoch("classifier", 0, 1, 2, 0.7),
            e.ExpertEpoch("classifier", 0, 2, 2, 0.6),
            expert(0, 70.0),
            expert(1, 80.0),
            e.StageProgress("experts", 2, 2),
            e.StageDone("experts", 6.0),
            check(None, "random"),
            e.StageStarted("distill", 100, "iterations"),
            *(step(at) for at in range(1, 61)),
            e.Checkpointed(50),
            check(60),
            e.Preview(60, "p.png", "p.json", 2, 2, 8),
        ),
        e.Warned("a line that is no event was skipped"),
        *stamp(
            started(resumed=True),
            e.StageStarted("distill", 100, "iterations"),
            *(step(at) for at in range(51, 101)),
            e.Checkpointed(100),
            e.StageDone("distill", 90.0),
            check(100, "final"),
            e.RunFinished(50.0, 1.0),
            start=200,
        ),
    ]


def test_batches_do_not_matter() -> None:
    items = whole_run()
    at_once = fold(RunState(), items)
    for seed in range(20):
        cuts = sorted(random.Random(seed).sample(range(len(items)), 5))
        state = RunState()
        for begin, end in zip([0, *cuts], [*cuts, len(items)], strict=True):
            state = fold(state, items[begin:end])
        assert state == at_once


def test_a_snapshot_stays_as_it_was_whatever_is_applied_later() -> None:
    state = RunState()
    for item in whole_run():
        snapshot = state.snapshot()
        before = copy.deepcopy(snapshot)
        state.apply(item)
        assert snapshot == before


def test_what_did_not_change_between_two_snapshots_is_the_same_object() -> None:
    state = fold(RunState(), whole_run())
    before = state.snapshot()
    state.apply(e.Stamped(900, 900.0, check(100)))
    after = state.snapshot()
    assert after.evaluations is not before.evaluations
    for same in ("steps", "stages", "previews", "warnings", "expert_epochs", "experts_done"):
        assert getattr(after, same) is getattr(before, same), same


def fold_seconds(items: list[e.Stamped | e.Warned]) -> float:
    began = time.process_time()
    len(fold(RunState(), items).steps)
    return time.process_time() - began


KEYED: list[Callable[[int], e.Event]] = [
    step,
    check,
    lambda at: e.Preview(at, "p.png", "p.json", 2, 2, 8),
    lambda at: e.ExpertEpoch("classifier", at, 1, 2, 0.7),
    lambda at: expert(at, 50.0),
]


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("event", KEYED, ids=["steps", "checks", "previews", "epochs", "experts"])
def test_a_fold_takes_as_long_in_any_order_and_an_event_as_long_as_any_other(event: Callable[[int], e.Event]) -> None:
    count = 20_000
    forward = stamp(*(step(at) for at in range(1, count + 1)))
    reversed_ = stamp(*(event(at) for at in range(count, 0, -1)))
    assert fold_seconds(reversed_) < 6 * min(fold_seconds(forward) for _ in range(2))


def test_a_reversed_part_of_a_run_gives_the_same_state() -> None:
    kinds = [make(at) for at in range(1, 200) for make in (step, check, KEYED[2])]
    begun, items = fold(RunState(), stamp(started())), stamp(*kinds, every=0.0)
    forward, backward = fold(begun, items), fold(begun, items[::-1])
    assert forward.steps == backward.steps and forward.iteration == backward.iteration == 199
    assert dict(forward.evaluations) == dict(backward.evaluations)
    assert dict(forward.previews) == dict(backward.previews)


def test_two_futures_of_one_state_do_not_mix() -> None:
    common = fold(RunState(), stamp(started(), step(1), step(2)))
    left, right = fold(common, [e.Stamped(9, 9.0, step(3))]), fold(common, [e.Stamped(9, 9.0, step(4))])
    assert left.steps.iterations.tolist() == [1, 2, 3]
    assert right.steps.iterations.tolist() == [1, 2, 4]
    assert common.steps.iterations.tolist() == [1, 2]


def test_status_follows_the_events() -> None:
    running = fold(RunState(), stamp(started()))
    assert RunState().status == "waiting" and running.status == "running"
    assert fold(running, stamp(e.RunStopped("distill"), start=5)).status == "stopped"
    broken = fold(running, stamp(e.RunBroke("no memory"), e.RunBroke("no disk"), start=5))
    assert broken.status == "failed" and [fault.what for fault in broken.failures] == ["no memory", "no disk"]
    again = fold(broken, stamp(started(resumed=True), start=9))
    assert again.status == "running" and again.failures == ()
    assert fold(running, stamp(e.RunFinished(1.0, 0.0), start=5)).status == "done"


def test_a_run_without_its_worker_has_crashed_only_if_it_says_that_it_runs() -> None:
    running = fold(RunState(), stamp(started()))
    assert crashed_if_worker_died(running, alive=True).status == "running"
    assert crashed_if_worker_died(running, alive=False).status == "crashed"
    assert crashed_if_worker_died(RunState(), alive=False).status == "waiting"
    stopped = fold(running, stamp(e.RunStopped("distill"), start=5))
    assert crashed_if_worker_died(stopped, alive=False).status == "stopped"


def test_what_fails_after_the_end_does_not_undo_the_result() -> None:
    done = fold(RunState(), stamp(started(), e.RunFinished(50.0, 1.0), e.RunBroke("no such network")))
    assert done.status == "done" and done.finished == e.RunFinished(50.0, 1.0) and len(done.failures) == 1


def test_a_resumed_run_forgets_what_comes_again() -> None:
    items = [
        *stamp(
            started(),
            *(step(at) for at in range(1, 8)),
            e.Checkpointed(5),
            check(5),
            check(7),
            check(None, "random"),
            e.Preview(7, "p", "l", 1, 1, 8),
        ),
        *stamp(started(resumed=True), start=50),
    ]
    state = fold(RunState(), items)
    assert state.iteration == 5 and len(state.steps) == 5 and state.previews == {}
    assert {(key[0], key[1]) for key in state.evaluations} == {("check", 5), ("random", None)}
    assert fold(state, stamp(step(6), step(7), start=60)).steps.iterations.tolist() == list(range(1, 8))


def test_a_run_that_diverged_goes_back_and_tells_it_as_a_warning_and_as_a_mark_of_the_slider() -> None:
    state = RunState()
    events = [e.MatchingStep(at, 0.9, 0.9, 0.05, 0.1) for at in range(1, 8)]
    back = e.Recovered(8, 4, "distill, iteration 8: the set has exploded", 0.5)
    for seq, event in enumerate([*events, back]):
        state.apply(e.Stamped(seq, float(seq), event))
    assert state.iteration == 4 and frames(state) == [0, 4]
    (warning,) = state.warnings
    assert warning.message == (
        "matching diverged (distill, iteration 8: the set has exploded); it goes on from iteration 4 with all rates"
        " times 0.5"
    )
    assert warning.message in str(log_message(e.Stamped(8, 8.0, back)))


def test_a_resumed_run_stands_at_its_checkpoint_before_its_first_iteration() -> None:
    def distilled(*items: e.Event) -> float:
        events = stamp(started(), begin, *(step(at) for at in range(1, 64)), e.Checkpointed(50), *items)
        return fold(RunState(), events).stages.by_name["distill"].done

    begin, data = e.StageStarted("distill", 100, "iterations"), e.StageStarted("data", 1, "set")
    assert distilled() == 63
    assert distilled(started(resumed=True), data) == 50, "also while the stages before it are gone through"
    assert distilled(started(resumed=True), data, e.StageDone("data", 1.0), begin) == 50
    assert distilled(started(resumed=True), begin, step(51)) == 51
    assert distilled(started(), begin) == 0


def test_a_run_begun_anew_forgets_everything() -> None:
    state = fold(RunState(), [*whole_run(), *stamp(started(), start=900)])
    assert len(state.steps) == 0 and state.evaluations == {} and state.finished is None and state.checkpoint == 0


def test_seconds_of_a_stage_add_up_over_an_interruption_and_leave_out_the_pause() -> None:
    items = stamp(started(), e.StageStarted("distill", 100, "iterations"), step(1), step(2), step(3))
    pause = stamp(started(resumed=True), e.StageStarted("distill", 100, "iterations"), start=500)
    state = fold(RunState(), items)
    assert state.stages.by_name["distill"].elapsed(now=1004.0) == 3.0
    state = fold(state, pause)
    assert state.stages.by_name["distill"].elapsed(now=1511.0) == 3.0 + 10.0


def seconds_left(state: RunState, now: float) -> float | None:
    assert state.stages.current is not None
    return state.stages.current.seconds_left(now)


def test_time_left_is_the_pace_of_late_and_grows_when_nothing_moves() -> None:
    items = stamp(started(), e.StageStarted("distill", 400, "iterations"), *(step(at) for at in range(1, 201)))
    state = fold(RunState(), items)
    now = state.last_seconds
    assert now is not None
    left = seconds_left(state, now)
    assert left is not None and abs(left - 200) < 10
    stalled = seconds_left(state, now + 600)
    assert stalled is not None and stalled > 5 * left


def test_time_left_is_unknown_before_there_is_a_pace_and_after_the_end() -> None:
    begun = fold(RunState(), stamp(started(), e.StageStarted("distill", 400, "iterations")))
    assert seconds_left(begun, 2000.0) is None
    assert fold(RunState(), whole_run()).stages.current is None


def test_a_slow_start_is_forgotten() -> None:
    begin = e.StageStarted("distill", 1000, "iterations")
    slow = stamp(started(), begin, *(step(at) for at in range(1, 21)), every=60.0)
    fast = stamp(*(step(at) for at in range(21, 221)), start=1300)
    state = fold(RunState(), [*slow, *fast])
    assert state.last_seconds is not None
    left = seconds_left(state, state.last_seconds)
    assert left is not None and left < 1000


def test_an_event_with_values_of_the_wrong_kind_is_a_warning() -> None:
    state = fold(RunState(), stamp(started(), step(1)))
    foreign = e.decode(
        '{"seq":3,"t":5.0,"type":"matching_step","iteration":"x","loss_rep":1,"loss_cls":1,"beta":1,"seconds":1}'
    )
    after = fold(state, [foreign])
    assert after.steps == state.steps and len(after.warnings) == 1


def test_an_expert_trained_again_does_not_double_its_losses() -> None:
    epochs = [e.ExpertEpoch("representation", 3, epoch, 5, 1.0 / epoch) for epoch in (1, 2, 3, 1, 2)]
    state = fold(RunState(), stamp(started(), *epochs))
    assert [event.epoch for event in state.expert_epochs["representation", 3]] == [1, 2]


def test_rows_on_the_way_hold_the_last_and_the_best_check_and_the_experts() -> None:
    items = stamp(
        started(),
        e.DataReady(["a", "b"], [9, 1], ["many", "few"], "thirds", 4, 2.0),
        expert(0, 70.0),
        expert(1, 80.0),
        check(None, "random", 30.0),
        check(10, mean=60.0),
        check(20, mean=55.0),
    )
    rows = {row.label: row for row in rows_from_state(fold(RunState(), items))}
    assert list(rows) == ["random", "classifier experts", "last check", "best check"]
    assert rows["best check"].iteration == 10 and rows["last check"].iteration == 20
    experts = rows["classifier experts"]
    assert experts.accuracy_mean == 75.0 and experts.groups == {"many": 75.0, "medium": None, "few": 65.0}


def test_of_a_finished_run_the_checks_give_way_to_final_and_best() -> None:
    items = stamp(started(), check(20), check(20, "final", 61.0), check(10, "best", 62.0))
    assert [row.label for row in rows_from_state(fold(RunState(), items))] == ["final", "best"]


def test_the_final_evaluation_over_the_most_networks_counts_as_in_metrics_json() -> None:
    def final(repeats: int, mean: float, arch: str = "convnet") -> e.Evaluated:
        return replace(check(20, "final", mean), repeats=repeats, arch=arch)

    data = e.DataReady(["a", "b"], [9, 1], ["many", "few"], "thirds", 4, 2.0)
    events = [started(), data, final(5, 61.0), final(5, 50.0, "vgg11"), final(1, 70.0), final(1, 80.0, "vgg11")]
    state = fold(RunState(), stamp(*events))
    rows = {row.label: (row.accuracy_mean, row.repeats) for row in rows_from_state(state)}
    assert rows == {"final": (61.0, 5), "final on vgg11": (50.0, 5)}
    shown = class_accuracies(state)
    assert [one.value for one in shown.classes] == [61.0, 61.0] and shown.groups["many"] == 61.0
    for repeats, mean in ((5, 62.0), (9, 63.0)):
        state.apply(stamp(final(repeats, mean))[0])
        assert rows_from_state(state)[0].accuracy_mean == mean, "of equally many the later one"
    # A resumed run measures its final figures anew, and writes metrics.json anew with them.
    state = fold(state, stamp(e.Checkpointed(20), started(resumed=True), final(5, 64.0)))
    assert [row.accuracy_mean for row in rows_from_state(state)] == [64.0]
