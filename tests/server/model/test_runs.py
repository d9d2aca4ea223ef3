from datetime import UTC, datetime

from runwire.server.model.runs import (
    ACTIVE_STATES,
    FINAL_STATES,
    IN_FLIGHT_STATES,
    MOVES,
    Run,
    RunConfig,
    RunSpec,
    RunState,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(RunState)


def test_a_final_state_is_left_by_no_move() -> None:
    for state in RunState:
        assert state.is_final == (not MOVES[state]) == (state in FINAL_STATES)


def test_a_run_that_is_being_cancelled_can_only_become_cancelled() -> None:
    assert MOVES[RunState.CANCELLING] == {RunState.CANCELLED}


def test_a_running_run_is_cancelled_by_way_of_cancelling_alone() -> None:
    assert RunState.CANCELLED not in MOVES[RunState.RUNNING]
    assert RunState.CANCELLING in MOVES[RunState.RUNNING]


def test_every_state_is_reached_from_pending() -> None:
    reached = {RunState.PENDING}
    while new := {move for state in reached for move in MOVES[state]} - reached:
        reached |= new
    assert reached == set(RunState)


def test_states_are_final_or_in_flight() -> None:
    assert set(RunState) == FINAL_STATES | IN_FLIGHT_STATES
    assert not FINAL_STATES & IN_FLIGHT_STATES
    assert {RunState.PENDING} == IN_FLIGHT_STATES - ACTIVE_STATES


def test_attempts_that_were_given_back_are_not_used() -> None:
    run = Run(
        run_id="run",
        thread_id=None,
        assistant_id="assistant",
        assistant_version=1,
        graph_id="graph",
        state=RunState.PENDING,
        spec=RunSpec(assistant_id="graph"),
        config=RunConfig(),
        context=None,
        metadata={},
        attempt=5,
        attempts_given_back=2,
        owner=None,
        create_time=NOW,
        due_time=NOW,
        update_time=NOW,
    )
    assert run.attempts_used == 3
