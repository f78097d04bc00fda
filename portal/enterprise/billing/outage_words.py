"""Why a unit is dark, in words: what happened, what speaks for it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.accounts.outage import Cause, Certainty, Reason, Supply
from billing.domain.outage_queries import Account, Found, Outage
from billing.models import Mode
from devices.models import DeviceState
from portal.enterprise.control import commands_words
from portal.enterprise.registry import texts
from portal.frame import quantities

_SUPPLY: Final[Mapping[Supply, tuple[str, str | Promise]]] = MappingProxyType(
    {
        Supply.ON: ("good", gettext_lazy("On")),
        Supply.OFF: ("bad", gettext_lazy("Off")),
        Supply.UNKNOWN: ("warn", gettext_lazy("Not known")),
    }
)
_CERTAINTY: Final[Mapping[Certainty, tuple[str, str | Promise]]] = MappingProxyType(
    {
        Certainty.CERTAIN: ("bad", gettext_lazy("Certain")),
        Certainty.LIKELY: ("warn", gettext_lazy("Likely")),
        Certainty.POSSIBLE: ("", gettext_lazy("Possible")),
    }
)
_TITLES: Final[Mapping[Reason, str | Promise]] = MappingProxyType(
    {
        Reason.WALLET: gettext_lazy("The prepaid balance is used up"),
        Reason.DUNNING: gettext_lazy("Bills are not paid"),
        Reason.TIME: gettext_lazy("The paid time is over"),
        Reason.COMMAND: gettext_lazy("Somebody has switched it off"),
        Reason.HARDWARE: gettext_lazy("Something is wrong with the unit"),
        Reason.BATTERY: gettext_lazy("The battery is empty"),
        Reason.LIMIT: gettext_lazy("More is drawn than is allowed"),
        Reason.LINK: gettext_lazy("The unit cannot be reached"),
        Reason.MAINTENANCE: gettext_lazy("It is being maintained"),
        Reason.NOT_ACTIVE: gettext_lazy("The device is not active"),
    }
)
_ADVICE: Final[Mapping[Reason, str | Promise]] = MappingProxyType(
    {
        Reason.WALLET: gettext_lazy(
            "Ask for a payment: the supply comes back by itself as soon as it is taken."
        ),
        Reason.DUNNING: gettext_lazy(
            "Ask for a payment, or agree on instalments: the supply comes back by itself then."
        ),
        Reason.TIME: gettext_lazy(
            "Ask for a payment, and read the token out; it has to be entered on the unit."
        ),
        Reason.COMMAND: gettext_lazy(
            "Ask whoever has switched it off whether it may be on again; do not promise it."
        ),
        Reason.HARDWARE: gettext_lazy(
            "Ask whether a fuse or switch at the place is off. If not, send a technician."
        ),
        Reason.BATTERY: gettext_lazy(
            "Less has to be used, or more charged: switch large loads off until it has recovered."
        ),
        Reason.LIMIT: gettext_lazy("Ask to switch loads off; the limit holds the rest back."),
        Reason.LINK: gettext_lazy(
            "Ask whether the unit shows anything: if it is dark, it has no power itself; if not,"
            " reception is missing and its supply may be on."
        ),
        Reason.MAINTENANCE: gettext_lazy("Wait a few minutes; it comes back by itself."),
        Reason.NOT_ACTIVE: gettext_lazy("Only an active device can be switched: see its page."),
    }
)


def page(found: Outage, *, now: datetime) -> dict[str, Any]:
    """What the screen shows."""
    zone = found.device.facility.time_zone
    explanation = found.explanation
    tone, label = _SUPPLY[explanation.supply]
    facts = found.facts
    return {
        "device": {
            "pk": found.device.pk,
            "name": found.device.name,
            "serial": found.device.serial,
        },
        "facility": {"pk": found.device.facility_id, "name": found.device.facility.name},
        "supply": {
            "tone": tone,
            "label": label,
            "since": explanation.since and texts.instant(explanation.since, zone),
        },
        "contact": {
            "tone": "good" if facts.connected else "warn",
            "label": _("Connected") if facts.connected else _("Not connected"),
            "seen": facts.last_seen_at and texts.ago(facts.last_seen_at, zone, now=now),
        },
        "causes": [cause(one, zone) for one in explanation.causes],
        "accounts": [account(one) for one in found.accounts],
        "commands": [commands_words.command(one, zone) for one in found.commands],
    }


def cause(of: Cause, zone: str) -> dict[str, Any]:
    """A cause with its evidence and what to do."""
    tone, certainty = _CERTAINTY[of.certainty]
    return {
        "title": _TITLES[of.reason],
        "tone": tone,
        "certainty": certainty,
        "since": of.since and texts.instant(of.since, zone),
        "evidence": _evidence(of, zone),
        "advice": _ADVICE[of.reason],
    }


def _evidence(of: Cause, zone: str) -> list[str]:
    return [line for line in _LINES[of.reason](of.evidence, zone) if line]


def _wallet(told: Mapping[str, Any], _zone: str) -> list[str]:
    balance = quantities.money(told["balance"], told["currency"])
    return [_("Balance: %(balance)s") % {"balance": balance}]


def _dunning(told: Mapping[str, Any], _zone: str) -> list[str]:
    amount = quantities.money(told["overdue"], told["currency"])
    return [_("Overdue: %(amount)s") % {"amount": amount}]


def _time(told: Mapping[str, Any], zone: str) -> list[str]:
    until = told["paid_until"]
    if told.get("not_entered"):
        return [_("A token was issued, and the unit has not taken it yet: it has to be entered.")]
    if until is None:
        return [_("No token was ever issued or entered.")]
    day = texts.instant(until, zone)
    if told["by_unit"]:
        return [_("The unit says that it was paid until %(day)s.") % {"day": day}]
    return [_("By the tokens issued it was paid until %(day)s.") % {"day": day}]


def _command(told: Mapping[str, Any], _zone: str) -> list[str]:
    by = commands_words.asker(told["by"], told["origin"])
    state = commands_words.state(told["state"])["label"]
    return [
        _("Asked for by %(by)s.") % {"by": by},
        _("Reason: %(why)s") % {"why": told["why"]} if told["why"] else "",
        _("State of the command: %(state)s") % {"state": state},
    ]


def _hardware(told: Mapping[str, Any], _zone: str) -> list[str]:
    if told.get("off_by_itself"):
        return [_("It says that it is off, and nobody has switched it off from here.")]
    resets, minutes = told["resets"], told["error_minutes"]
    return [
        ngettext("%(n)s restart in the last day", "%(n)s restarts in the last day", resets)
        % {"n": resets}
        if resets
        else "",
        ngettext(
            "Errors in its log in %(n)s minute of the last day",
            "Errors in its log in %(n)s minutes of the last day",
            minutes,
        )
        % {"n": minutes}
        if minutes
        else "",
    ]


def _battery(told: Mapping[str, Any], _zone: str) -> list[str]:
    charge = quantities.percent(told["charge_percent"] / 100)
    lines = [_("Charge: %(charge)s") % {"charge": charge}]
    if told["watts"] is not None:
        lines.append(_("Power now: %(power)s") % {"power": quantities.power(told["watts"])})
    return lines


def _limit(told: Mapping[str, Any], _zone: str) -> list[str]:
    lines = [
        _("%(power)s of at most %(limit)s")
        % {"power": quantities.power(told["watts"]), "limit": quantities.power(told["limit_w"])}
    ]
    if told["by_dunning"]:
        lines.append(_("The limit was set because bills are not paid."))
    return lines


def _link(told: Mapping[str, Any], zone: str) -> list[str]:
    seen = told["last_seen_at"]
    count = told["connections"]
    return [
        _("Last heard of: %(time)s") % {"time": texts.instant(seen, zone)}
        if seen
        else _("It has never been heard of."),
        _("Told at the end: %(text)s") % {"text": told["disconnect"]} if told["disconnect"] else "",
        ngettext("%(n)s connection in the last day", "%(n)s connections in the last day", count)
        % {"n": count}
        if count
        else "",
    ]


def _maintenance(told: Mapping[str, Any], _zone: str) -> list[str]:
    return [
        _("It installs new firmware.") if told["installing"] else "",
        _("It was asked to restart.") if told["rebooting"] else "",
    ]


def _not_active(told: Mapping[str, Any], _zone: str) -> list[str]:
    state = dict(DeviceState.choices).get(told["state"], told["state"])
    return [_("State of the device: %(state)s") % {"state": state}]


_LINES: Final = MappingProxyType(
    {
        Reason.WALLET: _wallet,
        Reason.DUNNING: _dunning,
        Reason.TIME: _time,
        Reason.COMMAND: _command,
        Reason.HARDWARE: _hardware,
        Reason.BATTERY: _battery,
        Reason.LIMIT: _limit,
        Reason.LINK: _link,
        Reason.MAINTENANCE: _maintenance,
        Reason.NOT_ACTIVE: _not_active,
    }
)


def account(of: Account) -> dict[str, Any]:
    """An agreement that the unit supplies."""
    owes = of.balance > Decimal(0)
    return {
        "pk": of.agreement_id,
        "number": of.number,
        "mode": dict(Mode.choices)[of.mode],
        "customer_pk": of.customer_id,
        "customer": of.customer,
        "customer_number": of.customer_number,
        "phone": of.phone,
        "protected": of.protected,
        "balance": quantities.money(abs(of.balance), of.currency),
        "owes": owes,
        "overdue": quantities.money(of.overdue, of.currency) if of.overdue else "",
    }


def hits(found: tuple[Found, ...]) -> list[dict[str, Any]]:
    """Units that a search has found."""
    return [
        {
            "pk": one.device_id,
            "name": one.name,
            "serial": one.serial,
            "facility": one.facility,
            "customer": one.customer,
            "customer_number": one.customer_number,
            "agreement": one.agreement,
        }
        for one in found
    ]
