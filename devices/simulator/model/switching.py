"""Units that are switched off, or limited in power, from a moment on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from devices.simulator.model.chance import Floats
from devices.simulator.model.electrics import Phases
from devices.simulator.model.loads import STEP_S
from devices.simulator.model.sources import Generation


@dataclass(frozen=True, slots=True)
class Control:
    """From `at_s` (seconds since the Unix epoch) on: on or off, and at most `limit_w` W."""

    at_s: float
    on: bool = True
    limit_w: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What controls come to over the steps of a span: the most that may flow, 0 where off."""

    most: Floats  # W

    @property
    def on(self) -> npt.NDArray[np.bool_]:
        """Whether anything may flow."""
        return self.most > 0


def course(controls: Sequence[Control], time_s: Floats) -> Course | None:
    """The course of a unit, None when nothing holds it back."""
    if not controls:
        return None
    most = np.full(len(time_s), np.inf)
    for control in controls:
        limit = np.inf if control.limit_w is None else control.limit_w
        # From the step in which it happens on: a relay does not wait for the model's next one.
        most[time_s > control.at_s - STEP_S] = limit if control.on else 0.0
    return None if np.isinf(most).all() else Course(most)


def share(drawn: Floats, held_to: Course | None, spare: Floats | float = 0.0) -> Floats | float:
    """The part of what loads draw (W) that they may; `spare` (W) is made where they are."""
    if held_to is None:
        return 1.0
    allowed = np.where(held_to.on, held_to.most + spare, 0.0)
    part: Floats = np.minimum(1.0, allowed / np.maximum(drawn, 1e-9))
    return part


def reduced(phases: Phases, part: Floats | float) -> Phases:
    """Loads that draw a part of what they would."""
    return Phases(phases.active * part, phases.reactive * part)


def throttled(made: Generation, held_to: Course | None, grid: Course | None) -> Generation:
    """Generation that gives no more than allowed, and nothing without the grid."""
    watts = made.watts
    if held_to is not None:
        watts = np.minimum(watts, held_to.most)
    if grid is not None:
        watts = np.where(grid.on, watts, 0.0)
    if watts is made.watts:
        return made
    part = np.where(made.watts > 0, watts / np.maximum(made.watts, 1e-9), 1.0)
    return replace(made, watts=watts, amperes=made.amperes * part)


def bounded(surplus: Floats, held_to: Course | None, grid: Course | None) -> Floats:
    """What a battery is asked for: no more than allowed either way, nothing without the grid."""
    if held_to is not None:
        surplus = np.clip(surplus, -held_to.most, held_to.most)
    return surplus if grid is None else np.where(grid.on, surplus, 0.0)
