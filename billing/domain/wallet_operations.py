"""Prepaid wallets: opened, filled and burned down. Needs an open scope that is not narrowed.

The account of an agreement is the one book of its money. A wallet follows it: each entry that is no
bill (a payment, a refund, a fee, an adjustment) moves it once, and in place of bills what the use
costs so far is taken, as it becomes known. So the balance is what the account has in credit less
what is not billed yet; when the bill comes, it settles with what was taken for its month, and the
credit on the account pays it as any other bill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils import translation
from django.utils.translation import gettext as _

from billing.accounts.wallet import Friendly, IsHoliday, Rules, burns, position
from billing.domain import ledger_operations
from billing.domain.drafts import Known, known_now
from billing.domain.dunning_facts import is_over, is_protected
from billing.domain.ledger_operations import Draft
from billing.domain.wallet_rating import Cost, costs_of
from billing.domain.wallet_supply import switch_off, switch_on
from billing.models import (
    AccountEntry,
    Agreement,
    Customer,
    EntryKind,
    Mode,
    MovementKind,
    Wallet,
    WalletMovement,
    WalletState,
)
from billing.tariffs import holidaying
from tenants.domain import audit

# Wallets that are burned in one transaction.
CHUNK: Final = 50
# A wallet is looked at so often, and sooner when friendly hours end.
EVERY: Final = timedelta(minutes=15)
MOST_ADJUSTMENT: Final = Decimal(1_000_000)
_NOTHING: Final = Decimal(0)
# Why a burn did not come about can be long; so much is kept.
_PROBLEM_LENGTH: Final = 400


class WalletNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such wallet or agreement in the scope."""


@dataclass(frozen=True, slots=True)
class WalletRules:
    """What may be set of a wallet; see the model."""

    low_balance: Decimal = Decimal(5)
    emergency_credit: Decimal = _NOTHING
    friendly_from: time | None = None
    friendly_to: time | None = None
    friendly_weekend: bool = False
    holidays: str = ""

    def values(self) -> dict[str, object]:
        """By column."""
        return {name: getattr(self, name) for name in self.__slots__}


@transaction.atomic
def open_wallet(*, agreement_id: int, rules: WalletRules, actor_id: int | None) -> Wallet:
    """The wallet of a prepaid agreement, or the one that it has. Raises WalletNotFound, and
    ValidationError at the field at fault.
    """
    agreement = ledger_operations.hold([agreement_id]).get(agreement_id)
    if agreement is None:
        raise WalletNotFound(f"agreement {agreement_id}")
    if agreement.mode != Mode.PREPAID:
        raise ValidationError({"agreement": [_("This agreement has no prepaid wallet.")]})
    found = Wallet.objects.filter(agreement=agreement).first()
    if found is not None:
        return found
    wallet = Wallet(
        tenant_id=agreement.tenant_id,
        agreement=agreement,
        facility_id=agreement.facility_id,
        currency=agreement.currency,
        **rules.values(),
    )
    _check(wallet)
    wallet.save()
    audit.record(
        tenant_id=wallet.tenant_id,
        actor_id=actor_id,
        action="wallet.open",
        subject=wallet,
        after={"agreement": agreement.number},
    )
    return wallet


def open_missing(*, now: datetime) -> int:
    """Open the wallets of prepaid agreements that have none; returns how many there were."""
    over = Q(ends_on__isnull=False, ends_on__lte=now.date())
    rows = Agreement.objects.filter(mode=Mode.PREPAID, wallet__isnull=True).exclude(over)
    missing = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
    for agreement_id in missing:
        open_wallet(agreement_id=agreement_id, rules=WalletRules(), actor_id=None)
    return len(missing)


@transaction.atomic
def set_rules(*, wallet_id: int, rules: WalletRules, now: datetime, actor_id: int | None) -> None:
    """Change the limits of a wallet; how it stands by them is seen at once. Raises WalletNotFound,
    ValidationError.
    """
    wallet = _held(wallet_id)
    before = {name: getattr(wallet, name) for name in rules.values()}
    for name, value in rules.values().items():
        setattr(wallet, name, value)
    _check(wallet)
    for name, value in before.items():
        setattr(wallet, name, value)
    if audit.update(wallet, rules.values(), actor_id=actor_id, action="wallet.change"):
        _stand(wallet, now)


@transaction.atomic
def set_warning(*, agreement_id: int, user_id: int, low_balance: Decimal, now: datetime) -> None:
    """At which balance a person wants to be told of the own wallet; how it stands by that is seen
    within a minute. Needs no more than the scope of the facility. Raises WalletNotFound,
    ValidationError.
    """
    rows = Wallet.objects.select_for_update(of=("self",))
    wallet = rows.filter(agreement=agreement_id, agreement__user=user_id).first()
    if wallet is None:
        raise WalletNotFound(f"wallet of agreement {agreement_id}")
    values = {"low_balance": low_balance}
    if not _NOTHING <= low_balance <= MOST_ADJUSTMENT:
        raise ValidationError({"low_balance": [_("Enter an amount that is not below nothing.")]})
    if audit.update(wallet, values, actor_id=user_id, action="wallet.change"):
        wallet.look_at = now
        wallet.save(update_fields=["look_at"])


def _check(wallet: Wallet) -> None:
    wallet.full_clean(exclude=["agreement", "facility", "tenant"])
    if wallet.holidays and not holidaying.known(wallet.holidays):
        raise ValidationError(
            {"holidays": [_("These holidays are not known: write a code such as DE-BY.")]}
        )


@transaction.atomic
def adjust(
    *, wallet_id: int, amount: Decimal, reason: str, key: str, now: datetime, actor_id: int | None
) -> Wallet:
    """Put something into a wallet that nobody has paid, or take it out (negative). `key` is what
    the asker calls this: asked again, nothing happens. Raises WalletNotFound, ValidationError.
    """
    reason = reason.strip()
    if not reason:
        raise ValidationError({"reason": [_("Say why the balance is changed.")]})
    if not amount:
        raise ValidationError({"amount": [_("Enter an amount that is not nothing.")]})
    if abs(amount) > MOST_ADJUSTMENT:
        message = _("Enter an amount of at most %(most)s.")
        raise ValidationError({"amount": [message % {"most": MOST_ADJUSTMENT}]})
    agreement_id = Wallet.objects.filter(pk=wallet_id).values_list("agreement", flat=True).first()
    if agreement_id is None:
        raise WalletNotFound(f"wallet {wallet_id}")
    agreement = ledger_operations.hold([agreement_id])[agreement_id]
    wallet = _held(wallet_id)
    on = now.astimezone(UTC).date()
    kind = EntryKind.FEE if amount < 0 else EntryKind.CREDIT_NOTE
    entry = ledger_operations.book(
        agreement,
        Draft(kind, f"adjust:{wallet_id}:{key}"[:80], -amount, on, on, text=reason),
        actor_id=actor_id,
    )
    if entry.amount != -amount:
        sentence = _("Another change was made with this key: draw a new one.")
        raise ValidationError({"request_key": [sentence]})
    if not WalletMovement.objects.filter(entry=entry).exists():
        audit.record(
            tenant_id=wallet.tenant_id,
            actor_id=actor_id,
            action="wallet.adjust",
            subject=wallet,
            after={"amount": str(amount), "reason": reason},
        )
    ledger_operations.allocate([agreement_id])
    _follow_account([wallet], now)
    _stand(wallet, now)
    return wallet


@transaction.atomic
def follow(*, agreement_ids: Sequence[int], now: datetime) -> int:
    """Let wallets follow their accounts at once, for example after a payment, and switch on what
    can be on again; returns how many movements there were. Agreements without a wallet are passed
    over.
    """
    rows = Wallet.objects.select_for_update(of=("self",)).filter(agreement__in=agreement_ids)
    wallets = list(rows.order_by("pk"))
    made = _follow_account(wallets, now)
    for wallet in wallets:
        _stand(wallet, now)
    return made


def tenants_due(*, now: datetime) -> list[int]:
    """The tenants that have wallets to be burned; one query."""
    rows = Wallet.objects.filter(_due(now)).order_by("tenant").values_list("tenant", flat=True)
    return list(rows.distinct())


def due_wallets(*, now: datetime, most: int = CHUNK) -> list[int]:
    """The wallets that are to be burned, those first that have waited longest."""
    rows = Wallet.objects.filter(_due(now)).order_by(F("burned_at").asc(nulls_first=True), "pk")
    return list(rows.values_list("pk", flat=True)[:most])


def _due(now: datetime) -> Q:
    return Q(burned_at__isnull=True) | Q(burned_at__lte=now - EVERY) | Q(look_at__lte=now)


@transaction.atomic
def burn(*, wallet_ids: Sequence[int], now: datetime) -> int:
    """Take from wallets what their agreements cost by now, and switch off and on as they then
    stand; returns how many were done. Those that another worker holds are passed over.

    Idempotent, and resumable: what was taken before is known by its movements.
    """
    known = known_now(now)
    rows = Wallet.objects.select_for_update(of=("self",), skip_locked=True)
    wallets = list(rows.filter(pk__in=wallet_ids).order_by("pk"))
    _follow_account(wallets, now)
    _burn(wallets, known)
    for wallet in wallets:
        wallet.burned_at = now
        _stand(wallet, now)
    return len(wallets)


def _follow_account(wallets: Sequence[Wallet], now: datetime) -> int:
    """Move wallets by the entries of their accounts that have not moved them yet; bills do so by
    what the use costs. The wallets are held.
    """
    by_agreement = {wallet.agreement_id: wallet for wallet in wallets}
    done = WalletMovement.objects.filter(wallet__in=wallets, entry__isnull=False)
    new = AccountEntry.objects.filter(agreement__in=by_agreement, bill__isnull=True).exclude(
        pk__in=done.values("entry")
    )
    movements = []
    for entry in new.order_by("pk"):
        wallet = by_agreement[entry.agreement_id]
        movement = _movement(wallet, MovementKind.ENTRY, f"entry:{entry.pk}", -entry.amount, now)
        movement.entry, movement.created_by_id = entry, entry.created_by_id
        movements.append(movement)
    WalletMovement.objects.bulk_create(movements)
    return len(movements)


def _burn(wallets: Sequence[Wallet], known: Known) -> None:
    costs = costs_of([wallet.agreement_id for wallet in wallets], known=known)
    charged, counts = _charged(wallets)
    movements = []
    for wallet in wallets:
        cost = costs.get(wallet.agreement_id, Cost({}))
        wallet.problem = cost.problem[:_PROBLEM_LENGTH]
        if wallet.problem:
            continue
        for one in burns(cost=cost.months, charged=charged[wallet.pk]):
            number = counts[wallet.pk].get(one.month, 0) + 1
            bill_id = cost.bills.get(one.month)
            movement = _movement(
                wallet,
                MovementKind.BURN if bill_id is None else MovementKind.BILL,
                f"burn:{wallet.pk}:{one.month}:{number}",
                -one.amount,
                known.at,
            )
            movement.month, movement.bill_id = one.month, bill_id
            movements.append(movement)
    WalletMovement.objects.bulk_create(movements)


def _charged(
    wallets: Sequence[Wallet],
) -> tuple[Mapping[int, dict[date, Decimal]], Mapping[int, dict[date, int]]]:
    """By wallet and month, what was taken so far and in how many movements; one query."""
    rows = WalletMovement.objects.filter(wallet__in=wallets, month__isnull=False)
    charged: dict[int, dict[date, Decimal]] = defaultdict(dict)
    counts: dict[int, dict[date, int]] = defaultdict(dict)
    sums = rows.values("wallet", "month").annotate(sum=Sum("amount"), count=Count("pk"))
    for wallet_id, month, taken, count in sums.values_list("wallet", "month", "sum", "count"):
        assert month is not None
        charged[wallet_id][month] = -taken
        counts[wallet_id][month] = count
    return charged, counts


def _movement(
    wallet: Wallet, kind: MovementKind, key: str, amount: Decimal, at: datetime
) -> WalletMovement:
    """A movement that is not saved, and the balance after it."""
    wallet.balance += amount
    return WalletMovement(
        tenant_id=wallet.tenant_id,
        wallet=wallet,
        agreement_id=wallet.agreement_id,
        facility_id=wallet.facility_id,
        kind=kind.value,
        key=key,
        amount=amount,
        balance_after=wallet.balance,
        at=at,
    )


def _stand(wallet: Wallet, now: datetime) -> None:
    """See how a wallet stands, switch its units by that, and save it."""
    agreement = Agreement.objects.select_related("facility").get(pk=wallet.agreement_id)
    customer = Customer.objects.get(pk=agreement.customer_id)
    zone = ZoneInfo(agreement.facility.time_zone)
    today = now.astimezone(zone).date()
    found = position(
        wallet.balance,
        _rules(wallet, protected=is_protected(customer, today)),
        at=now,
        zone=zone,
        is_holiday=_holidays(wallet),
        off=wallet.switched_off_at is not None,
    )
    state = WalletState(found.standing.value)
    if state != wallet.state:
        wallet.state, wallet.state_at = state, now
    wallet.look_at = found.look_at
    # Whoever lives there after the end is not the one who has not paid.
    over = is_over(agreement, today)
    with translation.override(customer.language or None):
        _switch(wallet, agreement, off=found.off and not over, now=now)
    wallet.save(
        update_fields=[
            "balance", "state", "state_at", "look_at", "burned_at", "problem", "switched_off_at",
            "switchings", "missed",
        ]
    )  # fmt: skip


def _switch(wallet: Wallet, agreement: Agreement, *, off: bool, now: datetime) -> None:
    """Have the units off or on where they are not, and those asked again that could not be asked
    to switch off.
    """
    was_off = wallet.switched_off_at is not None
    if off == was_off:
        if off and wallet.missed:
            wallet.missed = switch_off(wallet, agreement, now=now)
        return
    wallet.switched_off_at = now if off else None
    wallet.switchings += 1
    switch = switch_off if off else switch_on
    wallet.missed = switch(wallet, agreement, now=now)


def _holidays(wallet: Wallet) -> IsHoliday:
    return lambda day: day in holidaying.holidays_in(day.year, [wallet.holidays])


def _rules(wallet: Wallet, *, protected: bool) -> Rules:
    return Rules(
        low=wallet.low_balance,
        emergency=wallet.emergency_credit,
        friendly=Friendly(
            wallet.friendly_from,
            wallet.friendly_to,
            weekend=wallet.friendly_weekend,
            holidays=bool(wallet.holidays),
        ),
        protected=protected,
    )


def _held(wallet_id: int) -> Wallet:
    wallet = Wallet.objects.select_for_update(of=("self",)).filter(pk=wallet_id).first()
    if wallet is None:
        raise WalletNotFound(f"wallet {wallet_id}")
    return wallet
