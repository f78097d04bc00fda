"""Many invitations at once, from a pasted list: what would become of each line, then the deed.

A line is an address, perhaps as `Name <address>`, and perhaps a role behind a comma, a semicolon or
a tab; without one the role of the offer counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parseaddr
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.translation import gettext as _

from tenants.domain.authority import NotAllowed, RoleChoice, UnknownRole, givable
from tenants.domain.operations_invitations import CannotInvite, Offer, invite, why_not
from tenants.models import Invitation, User
from tenants.permission_texts import ROLE_TEXTS

# Lines that one list may have: it is sent within one request.
MAX_LINES: Final = 200
_ROLE_AFTER: Final = re.compile(r"[;,\t]")


class TooManyLines(Exception):  # noqa: N818 - it reads as what happened
    """The list is longer than MAX_LINES; the text says so to the actor."""


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line of the list, counted from 1: whom it invites as what, or why it does not."""

    number: int
    text: str
    email: str
    role: RoleChoice
    role_name: str
    problem: str


def plan(
    *, tenant_id: int, text: str, offer: Offer, now: datetime, actor_id: int | None
) -> tuple[PlannedLine, ...]:
    """What would become of each line that is not empty; a fixed number of queries.

    Raises TooManyLines. Needs an open scope with the tenant.
    """
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > MAX_LINES:
        raise TooManyLines(
            _("These are %(count)d lines; one list holds %(most)d. Split it.")
            % {"count": len(lines), "most": MAX_LINES}
        )
    names, roles = _roles(tenant_id, actor_id)
    read = [_read(number, line, offer, names, roles) for number, line in lines]
    addresses = [line.email for line in read if not line.problem]
    refused = why_not(tenant_id=tenant_id, emails=addresses, now=now)
    return tuple(_judged(read, refused))


@transaction.atomic
def invite_all(
    *, tenant_id: int, text: str, offer: Offer, now: datetime, actor_id: int | None
) -> tuple[tuple[Invitation, ...], tuple[PlannedLine, ...]]:
    """Invite everybody whose line has no problem; returns the invitations, and the lines that were
    left out. The entry point has the mails sent after commit. Raises TooManyLines.
    """
    made, left = [], []
    for line in plan(tenant_id=tenant_id, text=text, offer=offer, now=now, actor_id=actor_id):
        if line.problem:
            left.append(line)
            continue
        try:
            with transaction.atomic():
                made.append(
                    invite(
                        tenant_id=tenant_id,
                        email=line.email,
                        offer=replace(offer, role=line.role),
                        now=now,
                        actor_id=actor_id,
                    )
                )
        except (CannotInvite, NotAllowed, UnknownRole) as error:  # another one was quicker
            left.append(replace(line, problem=str(error)))
    return tuple(made), tuple(left)


def _roles(
    tenant_id: int, actor_id: int | None
) -> tuple[Mapping[RoleChoice, str], Mapping[str, RoleChoice]]:
    """The roles that the actor may give: in words, and by what a line may call them."""
    built_in, custom = givable(actor_id=actor_id, tenant_id=tenant_id)
    names: dict[RoleChoice, str] = {role: str(ROLE_TEXTS[role].label) for role in built_in}
    names |= {role.role_id: role.name for role in custom}
    found: dict[str, RoleChoice] = {name.casefold(): role for role, name in names.items()}
    return names, found | {role.value: role for role in built_in}


def _read(
    number: int,
    line: str,
    offer: Offer,
    names: Mapping[RoleChoice, str],
    roles: Mapping[str, RoleChoice],
) -> PlannedLine:
    # The last address in the line, so that a comma in a name does no harm.
    head, _at, tail = line.rpartition("@")
    parts = _ROLE_AFTER.split(tail, maxsplit=1)
    wanted = parts[1].strip() if len(parts) > 1 else ""
    email = User.objects.normalize_email(parseaddr(f"{head}@{parts[0].strip()}")[1])
    role = roles.get(wanted.casefold(), offer.role) if wanted else offer.role
    problem = ""
    try:
        validate_email(email)
    except ValidationError:
        problem = _("This is no e-mail address.")
    if wanted and wanted.casefold() not in roles:
        problem = _("There is no role “%(role)s” that you may give.") % {"role": wanted}
    elif role not in names:
        problem = _("You may not give this role.")
    return PlannedLine(number, line, email, role, names.get(role, ""), problem)


def _judged(lines: list[PlannedLine], refused: Mapping[str, str]) -> Iterator[PlannedLine]:
    first: dict[str, int] = {}
    for line in lines:
        if line.problem:
            yield line
        elif line.email in refused:
            yield replace(line, problem=refused[line.email])
        elif line.email in first:
            text = _("The same address stands in line %(number)d.")
            yield replace(line, problem=text % {"number": first[line.email]})
        else:
            first[line.email] = line.number
            yield line
