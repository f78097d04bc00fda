"""A device and a roll-out that face each other in memory, led to any point of an update by hand.

The device is the simulator's: flash memory, bootloader and updater, without a socket. The server is
the engine of roll-outs with a clock of its own. Between them are messages that may get lost, and
reports that wait in the device until there is a link.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.protocol import Offer, Withdraw
from devices.simulator.bootloader import Reason
from devices.simulator.flash import PowerLostError
from devices.simulator.image import Behaviour
from devices.tests.update_rig import CHUNK, KEY, Device, Server, image_of, offer_of
from firmware.rollout.reporting import Word
from firmware.rollout.strategy import DEFAULT_RETRIES
from firmware.rollout.values import OPEN, Limit, Phase, State, Target
from firmware.tests.rollout_world import World, quick

OLD, NEW = "1.0.0", "1.1.0"
DEVICE, SEED = 1, 1
STATES: Final = (
    "waiting",
    "offered",
    "first byte",
    "middle",
    "last byte",
    "downloaded",
    "installing",
    "on trial",
    "confirmed",
)
# What the server takes the target for in each of them.
HELD_TRUE: Final = (
    State.WAITING,
    State.OFFERED,
    *(State.DOWNLOADING,) * 3,
    *(State.INSTALLING,) * 3,
    State.SUCCEEDED,
)
BUSY_S, IDLE_S = 5, 200
MOST_TURNS = 5_000
PATIENCE_TURNS = 3  # so long a device waits for a chunk


class FaultRig:
    """One device of one roll-out; what is public is what a fault may change.

    `linked_at`, `powered_at`: when the link, the power is back (None: never). `work_left`: bytes
    that the memory can be worked on after the next start. `loses`: so many messages to the device
    get lost. `after`: how the new firmware acts.
    """

    def __init__(self) -> None:
        self.image = image_of(NEW)
        self.server = Server(*offer_of(self.image, NEW))
        self.device = Device()
        self.key = KEY
        self.world = World(limit=Limit(downloads=0))
        self.linked_at: datetime | None = self.world.now
        self.powered_at: datetime | None = self.world.now
        self.work_left: int | None = None
        self.loses = 0
        self.deaf = self.lies = self.twice = False
        self.after: Behaviour | None = None
        self._inbound: list[Offer | Withdraw] = []
        self._seen = (0, 0)
        self._online = False
        self._position = 0
        self._unanswered = 0
        self._trial_since = self.world.now
        strategy = quick(success_percent=0, error_percent=100, retries=DEFAULT_RETRIES, join_days=2)
        self.device.power_up()
        self._connect()
        digest = hashlib.sha256(self.image).hexdigest()
        self.run = self.world.begin(SEED, [DEVICE], strategy, version=NEW, image=digest)

    @property
    def target(self) -> Target:
        return self.run.targets[SEED * 1000 + DEVICE]

    @property
    def end(self) -> str:
        """State and failure code."""
        return f"{self.target.state} {self.target.failure}".strip()

    @property
    def said(self) -> str:
        """What the device says that it runs."""
        return self.device.updater.facts.version

    @property
    def position(self) -> int:
        """The byte of the payload that comes next."""
        return self._position

    def bring(self, state: str) -> None:
        """Lead both to a state of the update."""
        for _ in range(MOST_TURNS):
            if self._is_in(state):
                break
            if state != "waiting" and self.target.state is State.WAITING:
                self.world.limit = Limit()
            self.turn()
        assert self.target.state is HELD_TRUE[STATES.index(state)]
        self.world.limit = Limit()

    def finish(self) -> None:
        """Until the target has come to its end, and half a day has passed since."""
        for _ in range(MOST_TURNS):
            if self.target.state not in OPEN:
                break
            self.turn()
        for _ in range(72):
            self.world.wait(600)
            self.turn()
        assert self.target.state not in OPEN

    def abort(self) -> None:
        """A person aborts the roll-out."""
        if not self.run.ended:
            self.run.rollout = replace(self.run.rollout, phase=Phase.ABORTED)

    def cut_power(self, seconds: float | None = 30) -> None:
        """Now, for so long; None: it never comes back."""
        self.device.on = False
        self.powered_at = None if seconds is None else self._in(seconds)

    def sign_with(self, key: Ed25519PrivateKey) -> None:
        """All offers from now on, also the one on its way."""
        self.key = key
        self._seen = (0, 0)
        self._inbound.clear()
        self._send()

    def cut_link(self, seconds: float) -> None:
        self.linked_at = self._in(seconds)

    def start_once_more(self) -> None:
        """Whatever its power does otherwise: what would it run?"""
        self.device.power_up()

    def turn(self) -> None:
        """Some seconds: the device takes what came and does one thing, then the server looks."""
        worked = len(self.device.told), self._inbound, self.device.updater.testing, self._position
        started = self._power()
        self._connect()
        if not self.device.on:
            self._inbound.clear()
        elif not started:
            try:
                if not self._take():
                    self._act()
            except PowerLostError:
                self.cut_power()
        self._report()
        self._connect()
        self.world.tick(SEED)
        self._send()
        now = len(self.device.told), self._inbound, self.device.updater.testing, self._position
        self.world.wait(IDLE_S if worked == now and not self._inbound else BUSY_S)

    def _is_in(self, state: str) -> bool:
        updater, at = self.device.updater, self._position
        if state in ("waiting", "offered", "confirmed"):
            wanted = HELD_TRUE[STATES.index(state)]
            return self.target.state is wanted
        if state == "downloaded":
            return updater.ready and self.target.state is State.INSTALLING
        if state == "installing":
            return updater.installing and not self.device.on
        if state == "on trial":
            return updater.testing
        if self.target.state is not State.DOWNLOADING:
            return False
        size = len(self.image)
        return {"first byte": at == 0, "middle": at >= size // 3, "last byte": at + CHUNK >= size}[
            state
        ]

    def _in(self, seconds: float) -> datetime:
        return self.world.now + timedelta(seconds=seconds)

    def _power(self) -> bool:
        """Start when the power is back; whether it has started now."""
        if self.device.on or self.powered_at is None or self.world.now < self.powered_at:
            return False
        self.device.flash.power_left, self.work_left = self.work_left, None
        try:
            self.device.start()
        except PowerLostError:
            self.cut_power()
            return False
        self._trial_since = self.world.now
        self._unanswered = 0
        new = self.device.image.manifest is not None
        if new and self.after is not None:
            self.device.behaviour = self.after
            facts = self.device.updater.facts
            self.device.updater.facts = replace(facts, version=self.after.version or facts.version)
        return True

    def _connect(self) -> None:
        """What the bridge tells of the connection."""
        there = self.device.on and self.linked_at is not None and self.world.now >= self.linked_at
        if there and not self._online:
            self.device.updater.connected()
            digest = self.device.image.sha256.hex()
            self.world.connect(DEVICE, version=self.said, image=digest)
        elif self._online and not there:
            self.world.disconnect(DEVICE)
        self._online = there

    def _take(self) -> bool:
        """Messages that the server has sent; without a link they are lost. Whether any came."""
        messages, self._inbound = self._inbound, []
        if not self._online or self.deaf:
            return False
        for message in messages:
            if self._is_lost():
                continue
            for _ in range(2 if self.twice else 1):
                if isinstance(message, Offer):
                    self.device.updater.take_offer(message)
                else:
                    self.device.updater.take_withdrawal(message)
        return bool(messages)

    def _is_lost(self) -> bool:
        lost = self.loses > 0
        self.loses -= lost
        return lost

    def _act(self) -> None:
        updater = self.device.updater
        if updater.ready:
            if self.lies:
                updater.pretend()
                return
            updater.install()
            self.cut_power(BUSY_S)
        elif updater.testing:
            self._try()
        elif self._online:
            self._fetch()

    def _fetch(self) -> None:
        updater = self.device.updater
        fetch = updater.next_fetch()
        if fetch is None:
            self._unanswered += 1
            if self._unanswered >= PATIENCE_TURNS:
                updater.ask_again()
            return
        self._unanswered = 0
        self._position = fetch.offset
        if self.deaf or self._is_lost():
            return
        chunk = self.server.serve(fetch)
        for _ in range(2 if self.twice else 1):
            updater.take_chunk(chunk)
        self._position = chunk.offset + len(chunk.data)

    def _try(self) -> None:
        """As a firmware on trial does: its watchdog, its time limit, its test of itself."""
        updater, limit = self.device.updater, self.device.updater.confirm_within_s
        if self.device.behaviour.hangs:
            self.cut_power(BUSY_S)
        elif not self._online:
            if limit and self.world.now - self._trial_since > timedelta(seconds=limit):
                updater.give_up(Reason.TIMEOUT)
                self.cut_power(BUSY_S)
        elif self.device.behaviour.self_test:
            updater.confirm()
        else:
            updater.give_up(Reason.SELF_TEST)
            self.cut_power(BUSY_S)

    def _report(self) -> None:
        """What the device has told reaches the server, in its order, once there is a link. What it
        told just before it restarts has left already.
        """
        if not self._online:
            return
        told, self.device.told = self.device.told, []
        for kind, entries in told * (2 if self.twice else 1):
            word = Word(
                kind.removeprefix("firmware."),
                self.world.now,
                entries["update"] == self.target.uid.hex,
                str(entries.get("code", "")),
                version=str(entries["version"]),
                image=str(entries["image"]),
                offset=int(entries.get("offset", 0)),
            )
            self.world.say(SEED, DEVICE, word)

    def _send(self) -> None:
        """What the server has decided goes onto the way."""
        sent, withdrawn = self._seen
        for _device, uid in self.world.sent[sent:]:
            offer, _payload = offer_of(self.image, NEW, update_id=uid.bytes, key=self.key)
            self._inbound.append(offer)
        self._inbound += [Withdraw(uid.bytes, "") for uid in self.world.withdrawn[withdrawn:]]
        self._seen = len(self.world.sent), len(self.world.withdrawn)
