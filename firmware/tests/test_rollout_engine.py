"""What the engine decides, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.models import RolloutState, TargetState, WaveState
from firmware.rollout.admission import admit
from firmware.rollout.eligibility import unfit
from firmware.rollout.reporting import Word, heard
from firmware.rollout.strategy import (
    BadStrategyError,
    OnError,
    Retry,
    Strategy,
    WaveSize,
    Window,
)
from firmware.rollout.values import DDI, Goal, Limit, Link, Phase, State, Use, WavePhase
from firmware.rollout.waves import assign, place, wave_ends, wave_of_newcomer
from firmware.rollout.windows import is_open, jittered, next_opening
from firmware.tests.rollout_world import Run, World, quick

BERLIN = "Europe/Berlin"
NIGHT = Window((0, 1, 2, 3, 4, 5, 6), "02:15", "02:45")


def _world(devices: int = 3) -> World:
    world = World()
    for device_id in range(1, devices + 1):
        world.connect(device_id)
    return world


def _first_offered(world: World) -> int:
    world.tick(1)
    world.tick(1)
    return world.sent[-1][0]


def _phase(run: Run) -> str:
    return run.waves[1].phase.value


def test_codes_of_the_engine_are_those_of_the_tables() -> None:
    assert [*Phase] == RolloutState.values
    assert [*State] == TargetState.values
    assert [*WavePhase] == WaveState.values


def test_rollout_goes_from_wave_to_wave_to_the_end() -> None:
    world = _world()
    run = world.begin(1, [1, 2, 3], quick())
    canary = _first_offered(world)
    assert world.states(1) == {State.OFFERED: 1, State.PENDING: 2}
    world.update(1, canary)
    for _ in range(3):
        world.tick(1)
    assert world.states(1) == {State.SUCCEEDED: 1, State.OFFERED: 2}
    for device_id in {1, 2, 3} - {canary}:
        world.update(1, device_id)
    world.tick(1)
    assert world.states(1) == {State.SUCCEEDED: 3}
    assert (run.rollout.phase, run.ended) == (Phase.COMPLETED, True)


def test_confirmation_counts_only_if_the_device_runs_the_release() -> None:
    world = _world(1)
    world.begin(1, [1], quick())
    _first_offered(world)
    world.say(1, 1, Word("installing", world.now))
    world.connect(1, version="1.0.0")
    world.say(1, 1, Word("confirmed", world.now, version="2.0.0"))
    world.tick(1)
    assert world.states(1) == {State.INSTALLING: 1}
    world.wait(61)
    world.tick(1)
    (target,) = world.runs[1].targets.values()
    assert (target.state, target.failure) == (State.FAILED, "untrue")


def test_a_late_confirmation_wins_over_a_time_out() -> None:
    world = _world(1)
    world.begin(1, [1], quick(retries={}, error_percent=100, success_percent=0))
    _first_offered(world)
    world.say(1, 1, Word("installing", world.now))
    world.disconnect(1)
    world.wait(3000)
    world.tick(1)
    assert world.states(1) == {State.FAILED: 1}
    world.connect(1, version="2.0.0")
    world.say(1, 1, Word("confirmed", world.now))
    assert world.states(1) == {State.SUCCEEDED: 1}


def test_a_device_that_returns_late_tells_why_instead_of_a_time_out() -> None:
    world = _world(1)
    world.begin(1, [1], quick(retries={}, error_percent=100, success_percent=0))
    _first_offered(world)
    world.say(1, 1, Word("installing", world.now))
    world.disconnect(1)
    world.wait(3000)
    world.tick(1)
    (target,) = world.runs[1].targets.values()
    assert (target.state, target.failure) == (State.FAILED, "timeout")
    world.connect(1)
    link, strategy = world.links[1], world.runs[1].rollout.strategy
    word = Word("reverted", world.now, code="power", detail="switched off on trial")
    told = heard(target, word, link, strategy, world.now, final=False)
    assert told.target == replace(target, failure="power")
    assert told.event is not None
    assert (told.event.kind, told.event.code, told.event.detail) == (
        "failed", "power", "switched off on trial",
    )  # fmt: skip
    # Said again, it is no news; nor is that it took too long.
    again = heard(told.target, word, link, strategy, world.now, final=False)
    slow = heard(target, replace(word, code="timeout"), link, strategy, world.now, final=False)
    for known in (again, slow):
        assert known.target is None
        assert known.event is not None
        assert known.event.kind == "ignored"


def test_a_release_from_which_devices_do_not_come_back_is_stopped() -> None:
    world = _world(4)
    strategy = quick(
        waves=(WaveSize(percent=100),), max_downloads=1, success_percent=0, error_percent=25
    )
    run = world.begin(1, [1, 2, 3, 4], strategy)
    for _victim in range(2):
        victim = _first_offered(world)
        world.say(1, victim, Word("installing", world.now))
        world.disconnect(victim)
        world.wait(strategy.install_s + strategy.confirm_s + 1)
        world.tick(1)
    world.tick(1)
    assert run.rollout.phase is Phase.PAUSED
    assert world.states(1)[State.FAILED] == 2, "though a time-out has another attempt"


def test_a_device_that_came_back_and_says_nothing_is_tried_again() -> None:
    world = _world(1)
    strategy = quick()
    world.begin(1, [1], strategy)
    _first_offered(world)
    world.say(1, 1, Word("installing", world.now))
    world.connect(1)
    world.wait(strategy.install_s + strategy.confirm_s + 1)
    world.tick(1)
    assert world.states(1) == {State.WAITING: 1}


def test_an_offer_is_repeated_until_it_is_answered_and_after_each_reconnect() -> None:
    world = _world(1)
    world.begin(1, [1], quick(offer_s=60))
    _first_offered(world)
    world.wait(10)
    world.tick(1)
    assert len(world.sent) == 1
    world.wait(10)
    world.tick(1)
    assert len(world.sent) == 2
    world.connect(1)
    world.tick(1)
    assert len(world.sent) == 3
    world.say(1, 1, Word("accepted", world.now))
    world.wait(50)
    world.tick(1)
    assert (world.states(1), len(world.sent)) == ({State.DOWNLOADING: 1}, 3)
    world.connect(1)
    world.tick(1)
    assert len(world.sent) == 4
    assert len(set(world.sent)) == 1


def test_a_device_that_never_answers_is_tried_again_and_then_fails() -> None:
    world = _world(1)
    world.begin(1, [1], quick(offer_s=60, retries={"timeout": Retry(1, 600)}))
    _first_offered(world)
    world.wait(61)
    world.tick(1)
    assert (world.states(1), len(world.withdrawn)) == ({State.WAITING: 1}, 1)
    world.wait(599)
    world.tick(1)
    assert world.states(1) == {State.WAITING: 1}
    world.wait(1)
    world.tick(1)
    assert world.states(1) == {State.OFFERED: 1}
    assert len(set(world.sent)) == 2, "each attempt has its own name"
    world.wait(61)
    world.tick(1)
    assert world.states(1) == {State.FAILED: 1}


def test_a_device_that_goes_away_gives_its_place_to_others_and_comes_back() -> None:
    world = _world(2)
    world.begin(1, [1, 2], quick(waves=(WaveSize(percent=100),), max_downloads=1))
    first = _first_offered(world)
    world.say(1, first, Word("accepted", world.now))
    world.say(1, first, Word("progress", world.now, offset=500))
    world.disconnect(first)
    world.tick(1)
    other = world.sent[-1][0]
    assert other != first
    world.update(1, other)
    world.connect(first)
    world.tick(1)
    assert world.sent[-1] == world.sent[0], "it goes on with the same update"


@pytest.mark.parametrize(
    ("on_error", "phase", "rolled_back"),
    [
        (OnError.PAUSE, Phase.PAUSED, False),
        (OnError.ABORT, Phase.ABORTED, False),
        (OnError.ROLLBACK, Phase.ABORTED, True),
    ],
)
def test_too_many_failures_stop_it(on_error: OnError, phase: Phase, rolled_back: bool) -> None:
    world = _world()
    run = world.begin(1, [1, 2, 3], quick(on_error=on_error))
    canary = _first_offered(world)
    world.say(1, canary, Word("rejected", world.now, code="signature"))
    decision = world.tick(1)
    assert (run.rollout.phase, run.rolled_back) == (phase, rolled_back)
    assert (decision.reason, dict(decision.data)["failures"]) == ("error_percent", 1)


def test_resuming_accepts_what_has_failed() -> None:
    world = _world()
    strategy = quick(waves=(WaveSize(count=2), WaveSize(percent=100)))
    run = world.begin(1, [1, 2, 3], strategy)
    bad = _first_offered(world)
    good = next(device_id for device_id, _uid in world.sent if device_id != bad)
    world.say(1, bad, Word("failed", world.now, code="signature"))
    world.tick(1)
    assert run.rollout.phase is Phase.PAUSED
    world.resume(1)
    world.update(1, good)
    for _ in range(3):
        world.tick(1)
    assert (run.rollout.phase, world.states(1)[State.OFFERED]) == (Phase.RUNNING, 1)


def test_aborting_withdraws_and_waits_for_those_that_install() -> None:
    world = _world()
    run = world.begin(1, [1, 2, 3], quick(waves=(WaveSize(percent=100),)))
    world.tick(1)
    world.tick(1)
    world.say(1, 1, Word("accepted", world.now))
    world.say(1, 2, Word("installing", world.now))
    run.rollout = replace(run.rollout, phase=Phase.ABORTED)
    world.tick(1)
    assert world.states(1) == {State.CANCELLED: 2, State.INSTALLING: 1}
    assert (len(world.withdrawn), run.ended) == (2, False)
    world.say(1, 1, Word("progress", world.now, offset=10))
    assert len(world.withdrawn) == 3, "who goes on all the same is told again"
    world.update(1, 2)
    world.tick(1)
    assert run.ended


def test_aborting_calls_off_who_waits_for_a_turn_or_a_later_wave() -> None:
    world = _world(4)
    strategy = quick(waves=(WaveSize(count=2), WaveSize(percent=100)), max_downloads=1)
    run = world.begin(1, [1, 2, 3, 4], strategy)
    _first_offered(world)
    assert world.states(1) == {State.OFFERED: 1, State.WAITING: 1, State.PENDING: 2}
    run.rollout = replace(run.rollout, phase=Phase.ABORTED)
    world.tick(1)
    assert (world.states(1), run.ended) == ({State.CANCELLED: 4}, True)
    assert len(world.withdrawn) == 1


def test_offers_wait_for_the_window() -> None:
    world = _world(1)
    world.begin(1, [1], quick(windows=(Window(tuple(range(7)), "13:00", "14:00"),)))
    world.tick(1)
    world.tick(1)
    world.wait(3599)
    world.tick(1)
    assert world.states(1) == {State.WAITING: 1}
    world.wait(1)
    world.tick(1)
    assert world.states(1) == {State.OFFERED: 1}


def test_each_device_waits_for_its_own_time() -> None:
    world = _world(20)
    strategy = quick(waves=(WaveSize(percent=100),), jitter_s=1000, offer_s=3000)
    run = world.begin(1, list(range(1, 21)), strategy)
    offered = []
    for _ in range(11):
        world.tick(1)
        offered.append(world.states(1)[State.OFFERED])
        world.wait(100)
    began = run.waves[1].started_at
    assert began is not None
    assert offered == [
        sum(
            jittered(1, device_id, 1, began, 1000) <= began + timedelta(seconds=100 * step)
            for device_id in range(1, 21)
        )
        * (step > 0)
        for step in range(11)
    ]
    assert (offered[1] < 10, offered[-1]) == (True, 20)


def test_the_gate_is_asked_after_the_soak_and_never_believed_from_before() -> None:
    world = _world()
    run = world.begin(1, [1, 2, 3], quick(soak_s=600, gate={"look_every_s": 900}))
    canary = _first_offered(world)
    world.update(1, canary)
    world.tick(1)
    assert _phase(run) == "soaking"
    world.wait(599)
    world.look(1, "pass")
    world.wait(1)
    assert world.tick(1).review_wave == 1, "what was seen before the end of the soak is stale"
    world.look(1, "wait")
    world.wait(899)
    assert world.tick(1).review_wave is None
    world.wait(1)
    assert world.tick(1).review_wave == 1
    world.look(1, "pass")
    world.tick(1)
    assert _phase(run) == "done"


def test_who_confirms_during_the_soak_prolongs_it() -> None:
    world = _world(4)
    strategy = quick(
        waves=(WaveSize(count=2), WaveSize(percent=100)),
        soak_s=600,
        gate={},
        success_percent=50,
        error_percent=50,
        retries={},
    )
    run = world.begin(1, [1, 2, 3, 4], strategy)
    world.tick(1)
    world.tick(1)
    one, other = (device_id for device_id, _uid in world.sent)
    world.update(1, one)
    world.say(1, other, Word("failed", world.now, code="other"))
    world.tick(1)
    world.wait(500)
    world.update(1, other)
    world.wait(200)
    world.look(1, "pass")
    world.tick(1)
    assert _phase(run) == "soaking"
    world.wait(400)
    world.tick(1)
    assert _phase(run) == "judged", "the gate knew nothing of the last one"
    world.look(1, "pass")
    world.tick(1)
    assert _phase(run) == "done"


def test_a_device_that_goes_back_during_the_soak_counts_as_failed() -> None:
    world = _world()
    run = world.begin(1, [1, 2, 3], quick(soak_s=600))
    canary = _first_offered(world)
    world.update(1, canary)
    world.tick(1)
    assert _phase(run) == "soaking"
    world.say(1, canary, Word("reverted", world.now, code="self_test"))
    world.wait(700)
    assert world.tick(1).reason == "error_percent"
    world.resume(1)
    world.tick(1)
    assert (run.rollout.phase, _phase(run)) == (Phase.PAUSED, "soaking")
    world.approve(1, overruled=True)
    world.tick(1)
    assert _phase(run) == "done"


def test_a_higher_rollout_takes_who_waits_and_nobody_who_was_offered_something() -> None:
    world = _world(2)
    strategy = quick(waves=(WaveSize(percent=100),), max_downloads=1)
    world.begin(1, [1, 2], strategy)
    loading = _first_offered(world)
    world.begin(2, [1, 2], strategy, version="3.0.0", priority=1)
    world.tick(2)
    world.tick(2)
    waiting = 3 - loading
    assert world.runs[2].targets[2000 + waiting].state is State.OFFERED
    assert world.runs[2].targets[2000 + loading].state is State.PENDING
    assert world.runs[1].targets[1000 + waiting].state is State.PENDING
    assert world.runs[1].targets[1000 + loading].state is State.OFFERED


def test_devices_that_stay_away_are_left_when_their_time_is_over() -> None:
    world = _world(1)
    run = world.begin(1, [1, 2], quick(waves=(WaveSize(percent=100),), join_days=1))
    _first_offered(world)
    world.update(1, 1)
    world.tick(1)
    assert run.rollout.phase is Phase.RUNNING
    world.wait(86_401)
    world.tick(1)
    assert world.states(1) == {State.SUCCEEDED: 1, State.CANCELLED: 1}
    assert run.ended


def test_devices_that_poll_no_more_are_left_when_their_time_is_over() -> None:
    world = _world(1)
    everybody = quick(waves=(WaveSize(percent=100),), join_days=1)
    run = world.begin(1, [1, 2], everybody, medium=DDI)
    world.tick(1)
    world.tick(1)
    assert world.states(1) == {State.OFFERED: 2}
    world.update(1, 1)
    world.wait(everybody.offer_s + 1)
    world.tick(1)
    assert world.states(1) == {State.SUCCEEDED: 1, State.WAITING: 1}
    world.wait(86_400)
    world.tick(1)
    assert world.states(1) == {State.SUCCEEDED: 1, State.CANCELLED: 1}
    assert run.ended


@pytest.mark.parametrize("present", [True, False])
def test_silent_devices_hold_up_nobody_who_polls(present: bool) -> None:
    """There are places for two, and the first four of the order never ask."""
    world = World()
    everybody = quick(waves=(WaveSize(percent=100),), max_downloads=2)
    run = world.begin(1, list(range(1, 7)), everybody, medium=DDI)
    ordered = sorted(range(1, 7), key=lambda device: place(1, device))
    last = set(ordered[4:])
    for device in last if present else ():
        world.connect(device)
    world.tick(1)
    for _ in range(4):
        world.tick(1)
        if last <= {device for device, _uid in world.sent}:
            break
        world.wait(everybody.offer_s + 1)
        world.tick(1)
    assert last <= {device for device, _uid in world.sent}
    assert run.rollout.phase is Phase.RUNNING


def test_a_silent_device_is_told_of_once_however_often_it_is_offered_the_same() -> None:
    world = World()
    everybody = quick(waves=(WaveSize(percent=100),))
    world.begin(1, [1], everybody, medium=DDI)
    told = []
    for _ in range(20):
        told += [event.kind for event in world.tick(1).events]
        world.wait(everybody.offer_s / 2 + 1)
    assert len(world.sent) > 3
    assert told == ["offered"]


@settings(deadline=None)
@given(
    limit=st.integers(1, 100_000),
    used=st.integers(0, 100_000),
    downloads=st.one_of(st.none(), st.integers(1, 500)),
    ready=st.integers(0, 2000),
    more=st.integers(0, 2000),
)
def test_grants_never_exceed_a_limit(
    limit: int, used: int, downloads: int | None, ready: int, more: int
) -> None:
    levels = [(Limit(downloads, limit), Use(0, used)), (Limit(None, 2 * limit), Use(0, used))]
    granted = admit(levels, ready, ready + more)
    assert granted.count == 0 or used + granted.count * granted.rate <= limit
    assert downloads is None or granted.count <= downloads
    assert granted.count == 0 or granted.rate > 0


def test_an_empty_line_is_used_however_narrow_it_is() -> None:
    assert admit([(Limit(None, 500), Use())], 10, 10).count == 1


@settings(deadline=None)
@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=200), st.integers(0, 9))
def test_waves_are_of_the_sizes_asked_for_whatever_the_order(devices: set[int], seed: int) -> None:
    sizes = (WaveSize(count=3), WaveSize(percent=10), WaveSize(percent=50))
    waves = assign(seed, sorted(devices), sizes)
    assert waves == assign(seed, sorted(devices, reverse=True), sizes)
    ends = wave_ends(sizes, len(devices))
    assert ends[-1] == len(devices)
    for number, end in enumerate(ends, 1):
        assert sum(wave <= number for wave in waves.values()) == end


def test_newcomers_move_nobody() -> None:
    sizes = (WaveSize(percent=10), WaveSize(percent=100))
    waves = assign(5, range(100), sizes)
    last = {
        number: max(place(5, device) for device, wave in waves.items() if wave == number)
        for number in (1, 2)
    }
    joined = [wave_of_newcomer(5, device, last, 1) for device in range(100, 300)]
    assert set(joined) == {1, 2}
    assert joined == [1 if place(5, device) <= last[1] else 2 for device in range(100, 300)]
    assert {wave_of_newcomer(5, device, last, 2) for device in range(100, 300)} == {2}


def _berlin(month: int, day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (_berlin(3, 2, 1, 20), True),  # 02:20 CET
        (_berlin(3, 2, 1, 45), False),
        (_berlin(7, 2, 0, 20), True),  # 02:20 CEST
        (_berlin(7, 2, 1, 20), False),
        # 29 March: 02:15 does not exist and is 03:15 CEST.
        (_berlin(3, 29, 1, 10), False),
        (_berlin(3, 29, 1, 20), True),
        (_berlin(3, 29, 1, 45), False),
        # 25 October: 02:15 comes twice; the window lasts from the first to the second 02:45.
        (_berlin(10, 25, 0, 10), False),
        (_berlin(10, 25, 0, 20), True),
        (_berlin(10, 25, 1, 10), True),
        (_berlin(10, 25, 1, 50), False),
    ],
)
def test_windows_keep_to_local_time_when_clocks_change(now: datetime, wanted: bool) -> None:
    assert is_open((NIGHT,), BERLIN, now) is wanted


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    friday = (Window((4,), "22:00", "04:00"),)
    assert is_open(friday, "UTC", datetime(2026, 3, 7, 3, tzinfo=UTC))
    assert not is_open(friday, "UTC", datetime(2026, 3, 6, 3, tzinfo=UTC))
    assert next_opening(friday, "UTC", datetime(2026, 3, 7, 4, tzinfo=UTC)) == datetime(
        2026, 3, 13, 22, tzinfo=UTC
    )


@settings(deadline=None)
@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)))  # noqa: DTZ001
def test_the_next_opening_is_open_and_nothing_before_it(at: datetime) -> None:
    now = at.replace(tzinfo=UTC)
    windows = (Window((6,), "01:30", "02:30"), Window((2,), "23:00", "01:00"))
    opening = next_opening(windows, BERLIN, now)
    assert is_open(windows, BERLIN, opening)
    assert opening == now or not is_open(windows, BERLIN, opening - timedelta(microseconds=1))


def test_a_window_that_the_clocks_leave_nothing_of_is_no_opening() -> None:
    """On 29 March 2026, 02:30 is 03:30: behind the end. Sundays alone, so the next is a week on."""
    window = Window((6,), "02:30", "03:15")
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    opening = next_opening((window,), BERLIN, now)
    assert opening == datetime(2026, 4, 5, 0, 30, tzinfo=UTC)
    assert is_open((window,), BERLIN, opening)


def test_jitter_spreads_and_stays_the_same() -> None:
    began = datetime(2026, 3, 2, tzinfo=UTC)
    at = [jittered(1, device, 1, began, 1000) for device in range(200)]
    assert at == [jittered(1, device, 1, began, 1000) for device in range(200)]
    assert min(at) >= began
    assert max(at) < began + timedelta(seconds=1000)
    assert max(at) - min(at) > timedelta(seconds=900)


@pytest.mark.parametrize(
    ("goal", "link", "wanted"),
    [
        ({}, {}, ""),
        ({}, {"version": "2.0.0"}, "already"),
        ({"image": "aa"}, {"version": "2.0.0", "image": "bb"}, ""),
        ({}, {"version": "2.0.1"}, "older"),
        ({"lower": True}, {"version": "2.0.1"}, ""),
        ({"device_type": "other"}, {}, "type"),
        ({"hardware": ("b",)}, {"hardware": "a"}, "hardware"),
        ({"hardware": ("b",)}, {"hardware": ""}, ""),
        ({"from_versions": ">=1.2,<2"}, {"version": "1.1.0"}, "from_version"),
        ({"from_versions": ">=1.2,<2"}, {"version": "1.2.0"}, ""),
        ({}, {"capabilities": 0x03}, "medium"),
    ],
)
def test_devices_that_do_not_get_it(
    goal: dict[str, object], link: dict[str, object], wanted: str
) -> None:
    found = unfit(
        Goal(**{"release_id": 1, "device_type": "meter", "version": "2.0.0", **goal}),  # type: ignore[arg-type]
        device_type="meter",
        active=True,
        medium="wire",
        link=Link(**link),  # type: ignore[arg-type]
    )
    assert found == wanted


def test_strategies_are_stored_and_read_back() -> None:
    strategy = quick(
        windows=(NIGHT,),
        waves=(WaveSize(count=5), WaveSize(percent=12.5), WaveSize(percent=100)),
        retries={"flash": Retry(2, 60)},
        gate={"looks": 2},
        on_error=OnError.ROLLBACK,
        bytes_per_s=50_000,
    )
    assert Strategy.from_json(strategy.to_json()) == strategy
    assert Strategy.from_json({}) == Strategy()


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        ([], "strategy", "object"),
        ({"wave": []}, "wave", "unknown"),
        ({"waves": []}, "waves", "waves"),
        ({"waves": [{"percent": 0}]}, "waves", "wave"),
        ({"waves": [{"percent": 10}, {"percent": 10}]}, "waves", "waves_grow"),
        ({"soak_s": -1}, "soak_s", "whole"),
        ({"soak_s": True}, "soak_s", "whole"),
        ({"error_percent": 101}, "error_percent", "share"),
        ({"windows": [{"weekdays": [7], "start": "01:00", "end": "02:00"}]}, "windows", "weekdays"),
        ({"windows": [{"weekdays": [1], "start": "1:00", "end": "02:00"}]}, "windows", "clock"),
        ({"retries": {"boredom": {"limit": 1, "delay_s": 1}}}, "retries", "retries"),
        ({"on_error": "panic"}, "on_error", "on_error"),
        ({"bytes_per_s": 1}, "bytes_per_s", "whole"),
    ],
)
def test_strategies_that_cannot_be_are_refused(data: object, field: str, problem: str) -> None:
    with pytest.raises(BadStrategyError) as refused:
        Strategy.from_json(data)
    assert (refused.value.field, refused.value.problem) == (field, problem)
