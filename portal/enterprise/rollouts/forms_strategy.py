"""The strategy of a roll-out as a form, every setting explained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.domain import gate_words, rollout_words
from firmware.gate.limits import LEAST_LIMIT, MOST_LIMIT, GateLimits
from firmware.gate.metrics import METRICS, Metric
from firmware.rollout.strategy import (
    FAILURE_CODES,
    LEAST_RATE,
    MOST_DOWNLOADS,
    MOST_JOIN_DAYS,
    MOST_RATE,
    MOST_RETRIES,
    MOST_WINDOWS,
    OnError,
    Strategy,
)
from portal.enterprise.rollouts import words
from portal.enterprise.rollouts.durations import DurationField, written
from portal.frame.forms import BoundGroup, FieldGroup, GroupedForm

_WAVE: Final = re.compile(r"(\d{1,8}(?:\.\d{1,2})?)\s*(%?)")
_SECONDS: Final = ("soak_s", "jitter_s", "offer_s", "download_s", "install_s", "confirm_s")
_PLAIN: Final = (
    *("approval_between", "success_percent", "error_percent", "error_count", "on_error"),
    *("max_downloads", "bytes_per_s", "join_days"),
)
# Windows that are seen at once; there is room for all that a strategy may have, folded.
_WINDOWS: Final = 2


@dataclass(frozen=True, slots=True)
class RetryRow:
    """What is tried again after one kind of failure."""

    reason: str
    limit: BoundField
    delay: BoundField


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A time in which offers go out."""

    number: int
    days: BoundField
    start: BoundField
    end: BoundField

    @property
    def parts(self) -> tuple[BoundField, ...]:
        """What is entered."""
        return self.days, self.start, self.end


def _share(label: Any, text: Any) -> forms.FloatField:
    return forms.FloatField(label=label, min_value=0, max_value=100, help_text=text, localize=True)


class StrategyForm(GroupedForm, forms.Form):
    """How a roll-out goes; `strategy()` once it is valid. What bounds it is told by the domain."""

    waves = forms.CharField(
        label=gettext_lazy("Waves"),
        max_length=200,
        help_text=gettext_lazy(
            "How many devices have been reached after each wave, as numbers or percentages: 1, 1 %,"
            " 10 %, 100 %. The last one always reaches everybody."
        ),
    )
    soak_s = DurationField(
        label=gettext_lazy("Rest after each wave"),
        help_text=gettext_lazy(
            "So long updated devices are left alone before the wave is judged: 30 min, 6 h, 1 d."
            " The gate needs hours to tell."
        ),
    )
    approval_between = forms.BooleanField(
        label=gettext_lazy("A person lets each next wave begin"), required=False
    )
    success_percent = _share(
        gettext_lazy("A wave needs, in % updated"),
        gettext_lazy("It is over when so many of its devices are updated; the others may join."),
    )
    error_percent = _share(
        gettext_lazy("It stops at, in % of a wave failed"),
        gettext_lazy("More than this share of a wave failed. 0: at the first failure."),
    )
    error_count = forms.IntegerField(
        label=gettext_lazy("It stops at, devices failed in all"),
        required=False,
        min_value=1,
        help_text=gettext_lazy("Empty: only the share counts."),
    )
    on_error = forms.ChoiceField(
        label=gettext_lazy("What happens then"),
        choices=list(words.ON_ERROR.items()),
        widget=forms.RadioSelect,
    )
    jitter_s = DurationField(
        label=gettext_lazy("Spread the offers over"),
        help_text=gettext_lazy("So that not all devices of a wave begin in the same second."),
    )
    max_downloads = forms.IntegerField(
        label=gettext_lazy("Downloads at once"),
        required=False,
        min_value=1,
        max_value=MOST_DOWNLOADS,
        help_text=gettext_lazy("Empty: only the limits of the organisation apply."),
    )
    bytes_per_s = forms.IntegerField(
        label=gettext_lazy("Bytes per second, all downloads together"),
        required=False,
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        help_text=gettext_lazy("Empty: only the limits of the organisation apply."),
    )
    join_days = forms.IntegerField(
        label=gettext_lazy("Days in which a device that was away may join"),
        min_value=0,
        max_value=MOST_JOIN_DAYS,
        help_text=gettext_lazy("Counted from the beginning of its wave; then it is called off."),
    )
    offer_s = DurationField(
        label=gettext_lazy("To accept"), help_text=gettext_lazy("From the offer on.")
    )
    download_s = DurationField(
        label=gettext_lazy("To download"),
        help_text=gettext_lazy("Since the last sign of the download."),
    )
    install_s = DurationField(
        label=gettext_lazy("To install"),
        help_text=gettext_lazy("From the whole download to the reboot and back."),
    )
    confirm_s = DurationField(
        label=gettext_lazy("To confirm"),
        help_text=gettext_lazy("After it, a device that can goes back by itself."),
    )
    gate = forms.BooleanField(
        label=gettext_lazy("Compare telemetry before the next wave"),
        required=False,
        help_text=gettext_lazy(
            "Updated devices are compared with devices of the same type that were not updated. A"
            " metric beyond its limit stops the roll-out. Nothing is compared after the last wave:"
            " let the one before it reach most of the devices."
        ),
    )
    false_alarms = _share(
        gettext_lazy("False alarms, in %"),
        gettext_lazy("The share of harmless roll-outs that the gate may stop: 0.01 to 10."),
    )
    confidence = _share(
        gettext_lazy("Confidence, in %"),
        gettext_lazy("How sure it is that a limit is kept before it says so: 80 to 99.9."),
    )
    looks = forms.IntegerField(label=gettext_lazy("Looks at most"), min_value=1, max_value=24)
    look_every_s = DurationField(label=gettext_lazy("Time between looks"))
    past_days = forms.IntegerField(
        label=gettext_lazy("Days before the roll-out to compare with"), min_value=1, max_value=28
    )
    inconclusive = forms.ChoiceField(
        label=gettext_lazy("When it cannot tell"),
        choices=[
            ("person", gettext_lazy("A person decides")),
            ("pass", gettext_lazy("The next wave begins")),
        ],
    )

    def __init__(self, data: QueryDict | None = None, *, of: Strategy | None = None) -> None:
        start = of or Strategy()
        super().__init__(data, initial=dict(_initial(start)))
        for number in range(MOST_WINDOWS):
            self._add_window(number, start)
        for code in FAILURE_CODES:
            self._add_retry(code, start)
        for metric in Metric:
            self._add_ratio(metric, start)
        ratios = tuple(f"ratio_{metric.value}" for metric in Metric)
        self.groups = (
            FieldGroup(
                gettext_lazy("Waves"),
                ("waves", "soak_s", "approval_between", "success_percent"),
            ),
            FieldGroup(
                gettext_lazy("When it goes wrong"), ("error_percent", "error_count", "on_error")
            ),
            FieldGroup(
                gettext_lazy("Load"), ("max_downloads", "bytes_per_s", "jitter_s", "join_days")
            ),
            FieldGroup(
                gettext_lazy("Telemetry gate"),
                (
                    *("gate", *ratios, "false_alarms", "confidence", "looks", "look_every_s"),
                    *("past_days", "inconclusive"),
                ),
            ),
            FieldGroup(
                gettext_lazy("Time that each step may take"),
                ("offer_s", "download_s", "install_s", "confirm_s"),
            ),
        )

    def sections(self) -> Iterator[tuple[BoundGroup, bool]]:
        """The groups, and whether each is folded; windows and retries have tables of their own."""
        for group in self.bound_groups():
            if group.legend:
                wrong = any(bound.errors for bound in group.fields)
                yield group, group.fields[0].name not in ("waves", "error_percent") and not wrong

    def window_rows(self) -> tuple[Sequence[WindowRow], Sequence[WindowRow]]:
        """The windows with one for a new one, and the empty ones behind these."""
        rows = [
            WindowRow(number + 1, *(self[f"window_{number}_{part}"] for part in _WINDOW_PARTS))
            for number in range(MOST_WINDOWS)
        ]
        used = [row.number for row in rows if any(part.value() for part in row.parts)]
        seen = max(_WINDOWS, max(used, default=0) + 1)
        return rows[:seen], rows[seen:]

    def retry_rows(self) -> Iterator[RetryRow]:
        """What is tried again, by kind of failure."""
        for code in FAILURE_CODES:
            limit, delay = self[f"retry_{code}_limit"], self[f"retry_{code}_delay"]
            yield RetryRow(rollout_words.failed(code), limit, delay)

    def clean_waves(self) -> list[dict[str, float]]:
        """As the strategy has them."""
        sizes: list[dict[str, float]] = []
        for text in filter(None, re.split(r"[,;→\s]*[,;→]\s*", self.cleaned_data["waves"].strip())):
            found = _WAVE.fullmatch(text.strip())
            if found is None or (not found[2] and "." in found[1]):
                raise ValidationError(
                    _("“%(text)s” is no wave: write numbers of devices or percentages, with commas")
                    % {"text": text}
                )
            sizes.append({"percent": float(found[1])} if found[2] else {"count": int(found[1])})
        return sizes

    def clean(self) -> dict[str, Any]:
        """Windows and retries are whole or empty."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for number in range(MOST_WINDOWS):
            given = [bool(data.get(f"window_{number}_{part}")) for part in _WINDOW_PARTS]
            if any(given) and not all(given):
                self.add_error(
                    f"window_{number}_start",
                    _("A window has weekdays, a beginning and an end; or nothing."),
                )
        for code in FAILURE_CODES:
            if data.get(f"retry_{code}_limit") and data.get(f"retry_{code}_delay") is None:
                self.add_error(f"retry_{code}_delay", _("Say how long to wait before it."))
        return data

    def strategy(self) -> dict[str, Any]:
        """The strategy as JSON; the domain checks it."""
        data = self.cleaned_data
        return {
            **{name: data[name] for name in (*_SECONDS, *_PLAIN)},
            "waves": data["waves"],
            "windows": list(self._windows()),
            "retries": self._retries(),
            "gate": self._limits() if data["gate"] else None,
        }

    def refuse(self, field: str, text: str) -> None:
        """Tell what the domain refuses, at its field if it has one."""
        names = {"windows": "window_0_start", "retries": "retry_download_limit"}
        name = names.get(field, field)
        self.add_error(name if name in self.fields else None, text)

    def _add_window(self, number: int, of: Strategy) -> None:
        window = of.windows[number] if number < len(of.windows) else None
        self.fields[f"window_{number}_days"] = forms.TypedMultipleChoiceField(
            label=gettext_lazy("Weekdays"),
            coerce=int,
            choices=words.DAYS,
            required=False,
            initial=list(window.weekdays) if window else None,
            widget=forms.CheckboxSelectMultiple,
        )
        for part, label in (("start", gettext_lazy("From")), ("end", gettext_lazy("To"))):
            self.fields[f"window_{number}_{part}"] = forms.CharField(
                label=label,
                max_length=5,
                required=False,
                initial=getattr(window, part) if window else "",
                widget=forms.TextInput(attrs={"type": "time"}),
            )

    def _add_retry(self, code: str, of: Strategy) -> None:
        retry = of.retries.get(code)
        reason = rollout_words.failed(code)
        self.fields[f"retry_{code}_limit"] = forms.IntegerField(
            label=gettext_lazy("Further attempts"),
            required=False,
            min_value=0,
            max_value=MOST_RETRIES,
            initial=retry.limit if retry else None,
            widget=forms.NumberInput(
                attrs={"aria-label": _("Further attempts: %(reason)s") % {"reason": reason}}
            ),
        )
        self.fields[f"retry_{code}_delay"] = DurationField(
            label=gettext_lazy("After"),
            required=False,
            initial=written(retry.delay_s) if retry else "",
            widget=forms.TextInput(
                attrs={"aria-label": _("After: %(reason)s") % {"reason": reason}}
            ),
        )

    def _add_ratio(self, metric: Metric, of: Strategy) -> None:
        limits = GateLimits() if of.gate is None else GateLimits.from_json(of.gate)
        self.fields[f"ratio_{metric.value}"] = forms.FloatField(
            label=str(gate_words.NAMES[metric]),
            required=False,
            min_value=LEAST_LIMIT,
            max_value=MOST_LIMIT,
            localize=True,
            initial=limits.ratios.get(metric),
            help_text=_("At most so many times the control group's. Usual: %(ratio)s.")
            % {"ratio": gate_words.number(METRICS[metric].limit)},
        )

    def _windows(self) -> Iterator[dict[str, Any]]:
        for number in range(MOST_WINDOWS):
            days, start, end = (
                self.cleaned_data[f"window_{number}_{part}"] for part in _WINDOW_PARTS
            )
            if days:
                yield {"weekdays": days, "start": start[:5], "end": end[:5]}

    def _retries(self) -> dict[str, dict[str, int]]:
        data = self.cleaned_data
        return {
            code: {"limit": data[f"retry_{code}_limit"], "delay_s": data[f"retry_{code}_delay"]}
            for code in FAILURE_CODES
            if data[f"retry_{code}_limit"]
        }

    def _limits(self) -> dict[str, Any]:
        data = self.cleaned_data
        ratios = {metric.value: data[f"ratio_{metric.value}"] for metric in Metric}
        return {
            "ratios": {name: ratio for name, ratio in ratios.items() if ratio is not None},
            # Shares are told in percent.
            "false_alarms": round(data["false_alarms"] / 100, 6),
            "confidence": round(data["confidence"] / 100, 6),
            **{name: data[name] for name in ("looks", "look_every_s", "past_days")},
            "inconclusive": data["inconclusive"],
        }


_WINDOW_PARTS: Final = ("days", "start", "end")


def _initial(of: Strategy) -> Mapping[str, Any]:
    limits = GateLimits() if of.gate is None else GateLimits.from_json(of.gate)
    return {
        **{name: getattr(of, name) for name in _PLAIN},
        **{name: written(getattr(of, name)) for name in _SECONDS},
        "on_error": OnError(of.on_error).value,
        "waves": ", ".join(words.wave_size(one) for one in of.waves),
        "gate": of.gate is not None,
        "false_alarms": round(limits.false_alarms * 100, 4),
        "confidence": round(limits.confidence * 100, 4),
        "look_every_s": written(limits.look_every_s),
        **{name: getattr(limits, name) for name in ("looks", "past_days", "inconclusive")},
    }
