"""A jump of the wall clock is followed only on request; small corrections are followed at once."""

from __future__ import annotations

import pytest

from gateway.net import system


class Machine:
    """Two clocks that the test turns."""

    def __init__(self) -> None:
        self.wall, self.elapsed = 1_800_000_000.0, 100.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(system.time, "time", lambda: machine.wall)
    monkeypatch.setattr(system, "_elapsed", lambda: machine.elapsed)
    return machine


def test_it_goes_by_the_wall_clock(machine: Machine) -> None:
    clock = system.SystemClock()
    for seconds in (0.0, 1.0, 86_400.0):
        machine.pass_by(seconds)
        assert (clock.now(), clock.jump()) == (machine.wall, 0.0)


@pytest.mark.parametrize("step", [0.5, -0.5, 9.0])
def test_a_small_correction_is_followed(machine: Machine, step: float) -> None:
    clock = system.SystemClock()
    for _ in range(5):
        machine.wall += step
        assert (clock.now(), clock.jump()) == (machine.wall, 0.0)


@pytest.mark.parametrize("step", [11.0, -86_400.0, 1_700_000_000.0])
def test_a_jump_is_followed_when_it_is_adopted(machine: Machine, step: float) -> None:
    clock = system.SystemClock()
    before = clock.now()
    machine.wall += step
    machine.pass_by(3.0)
    assert clock.now() == pytest.approx(before + 3.0)
    assert clock.jump() == pytest.approx(step)
    clock.adopt()
    assert (clock.now(), clock.jump()) == (machine.wall, 0.0)
