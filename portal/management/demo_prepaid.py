"""Who pays before he uses, in the demo: a prepaid wallet, and a unit that is paid by the day."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import connection

from billing.accounts.tokens import Keys
from billing.domain import payg_operations, wallet_operations
from billing.domain.payg_operations import UnitTerms
from billing.domain.wallet_operations import WalletRules
from billing.models import PaygToken, PaygUnit, Wallet
from devices.domain.commands_policy import SYSTEM
from devices.models import Device
from devices.simulator import keyring
from devices.telemetry import status
from portal.management.demo_contracts import PAYG, Contract, ensure_agreement, pay
from portal.management.demo_history import timeline
from portal.management.demo_people import UPLOADER, user_id
from tenants.models import Tenant

_TOPPED_UP: Final = Decimal("40.00")
_PER_DAY: Final = Decimal("1.20")
_DAYS_PAID: Final = Decimal("36.00")


def ensure_payg(devices: dict[str, Any]) -> None:
    """Give the unit of the demo that sells its output its keys, in its entry of the keyring."""
    if PAYG.serial in devices and "payg" not in devices[PAYG.serial]:
        devices[PAYG.serial]["payg"] = {
            "secret": secrets.token_hex(16),
            "starting_code": 100_000_000 + secrets.randbelow(900_000_000),
            "divider": 1,
        }


@dataclass(frozen=True, slots=True)
class Wallets:
    """A customer pays before he uses, and tops his wallet up."""

    name: str
    tenant: str
    contract: Contract

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether it has been done, now or earlier. Raises as the operations do."""
        at = timeline()
        if at is None or at.today > now.date():
            return at is None
        actor_id = user_id(UPLOADER)
        agreement = ensure_agreement(tenant, self.contract, starts_on=at.today, actor_id=actor_id)
        if agreement is None:
            return True
        if not Wallet.objects.filter(agreement=agreement).exists():
            rules = WalletRules(
                emergency_credit=Decimal(10),
                friendly_from=time(18),
                friendly_to=time(8),
                friendly_weekend=True,
                holidays="DE-BW",
            )
            wallet_operations.open_wallet(agreement_id=agreement.pk, rules=rules, actor_id=actor_id)
        pay(agreement, _TOPPED_UP, f"demo:{self.name}", "Guthaben", now)
        return True


@dataclass(frozen=True, slots=True)
class PaidByDay:
    """A unit that is off until somebody pays for days: a payment buys a token, which it is sent."""

    name: str
    tenant: str
    contract: Contract

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Whether it has been done, now or earlier. Raises as the operations do."""
        at = timeline()
        device = Device.objects.filter(tenant=tenant, serial=self.contract.serial).first()
        if at is None or device is None:
            return True
        link = status.links(connection, [device.pk]).get(device.pk)
        if at.today > now.date() or link is None or not link.connected:
            return False
        actor_id = user_id(UPLOADER)
        agreement = ensure_agreement(tenant, self.contract, starts_on=at.today, actor_id=actor_id)
        if agreement is None:
            return True
        if not PaygUnit.objects.filter(agreement=agreement).exists():
            devices = keyring.load(settings.HOME / "demo.json")["devices"]
            kept = devices[self.contract.serial]["payg"]
            payg_operations.register(
                agreement_id=agreement.pk,
                device_id=device.pk,
                keys=Keys(kept["secret"], kept["starting_code"]),
                terms=UnitTerms(_PER_DAY, divider=kept["divider"]),
                actor_id=actor_id,
            )
        pay(agreement, _DAYS_PAID, f"demo:{self.name}", "30 Tage", now)
        # The customer has it by e-mail and could type it in; somebody at the supplier is quicker.
        token = PaygToken.objects.filter(unit__agreement=agreement).order_by("pk").first()
        if token is not None:
            payg_operations.send_to_unit(SYSTEM, token_id=token.pk, now=now)
        return True
