"""Things that go wrong on purpose: what a link and a device do to an honest protocol."""

from __future__ import annotations

import random
from dataclasses import dataclass

from devices.protocol import SEQUENCED
from devices.simulator.image import Behaviour


@dataclass(frozen=True, slots=True)
class Faults:
    """How often and how badly; all off by default. Rates are probabilities per message sent.

    `cut_rate`: the link breaks somewhere within the message. `cut_after_s`: mean life of a
    connection. `cut_after_bytes`: the link breaks at exactly this number of bytes.
    `duplicate_rate`: the message is sent twice, if it is a sequenced one. `corrupt_rate`: one bit
    of it is flipped.
    `bytes_per_s`: how much the up-link carries (0 = no limit).
    """

    cut_rate: float = 0
    cut_after_s: float = 0
    cut_after_bytes: int = 0
    duplicate_rate: float = 0
    corrupt_rate: float = 0
    bytes_per_s: float = 0

    def __post_init__(self) -> None:
        for name in ("cut_rate", "duplicate_rate", "corrupt_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a rate lies in 0 … 1")
        for name in ("cut_after_s", "cut_after_bytes", "bytes_per_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it cannot be negative")


NO_FAULTS = Faults()


@dataclass(frozen=True, slots=True)
class UpdateFaults:
    """What goes wrong with updates of a device; all off by default.

    `deaf`: it ignores offers. `bad_flash`: a sector of the slot for the next image does not keep
    what it gets. `power_cut_bytes`: mean number of bytes written between two power failures.
    `never_returns`: it does not come back from the restart into a new image. `lies`: it says that
    it has updated and has not. `tampers`: what it downloads is changed on the way. `bytes_per_s`:
    how much its down-link carries. `after`: how every new firmware acts, whatever its image says.
    """

    deaf: bool = False
    bad_flash: bool = False
    power_cut_bytes: int = 0
    never_returns: bool = False
    lies: bool = False
    tampers: bool = False
    bytes_per_s: float = 0
    after: Behaviour | None = None

    def __post_init__(self) -> None:
        for name in ("power_cut_bytes", "bytes_per_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it cannot be negative")


NO_UPDATE_FAULTS = UpdateFaults()


@dataclass(slots=True)
class FaultyLink:
    """The faults of one connection; decides for each message what really goes onto the wire."""

    faults: Faults
    random: random.Random
    sent_bytes: int = 0

    def life_s(self) -> float | None:
        """After how many seconds this connection breaks; None for never."""
        if not self.faults.cut_after_s:
            return None
        return self.random.expovariate(1 / self.faults.cut_after_s)

    def pass_on(self, message: bytes) -> tuple[bytes, bool]:
        """The bytes that leave in place of `message`, and whether the link breaks after them."""
        faults, chance = self.faults, self.random.random
        sequenced = message[1] in SEQUENCED  # a second HELLO would be no repetition but an error
        if faults.duplicate_rate and sequenced and chance() < faults.duplicate_rate:
            message += message
        if faults.corrupt_rate and chance() < faults.corrupt_rate:
            at = self.random.randrange(len(message))
            bit = 1 << self.random.randrange(8)
            message = message[:at] + bytes((message[at] ^ bit,)) + message[at + 1 :]
        cut = False
        if faults.cut_rate and chance() < faults.cut_rate:
            message = message[: self.random.randrange(len(message))]
            cut = True
        if faults.cut_after_bytes:
            left = faults.cut_after_bytes - self.sent_bytes
            if len(message) >= left:
                message = message[:left]
                cut = True
        self.sent_bytes += len(message)
        return message, cut
