"""The navigation: one table of entries, of which everybody sees those that they may open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from firmware.domain import approvals_queries
from portal.frame.permissions import BILLING_OFFICE, access_of, actor_of, may, may_one
from tenants.permissions import Permission
from tenants.scope import is_open

# The codes of the groups that a person has left open, with a point between them; written by the
# script of the menu.
OPEN_COOKIE: Final = "wattline_menu"


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of the navigation; without a permission every signed-in user sees it.

    `icon` names a symbol of the sprite. `words` are further words that the command palette finds
    the page by. With `one_of` it is for whoever has one of these, with `all_of` for whoever has
    all. `counted` tells how much waits there for the person.
    """

    label: str | Promise
    url_name: str
    icon: str
    permission: Permission | None = None
    words: str | Promise = ""
    one_of: tuple[Permission, ...] = ()
    all_of: tuple[Permission, ...] = ()
    counted: Callable[[HttpRequest], int] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under one heading, in the order in which they are shown.

    `code` names it in the cookie of groups that a person keeps open; `first_open`: it is open for
    whoever has not chosen yet.
    """

    code: str
    label: str | Promise
    entries: tuple[Entry, ...]
    first_open: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as a template shows it; `count` is how much waits there, where that is counted."""

    label: str
    url: str
    icon: str
    current: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class LinkGroup:
    """A group as a template shows it; never empty. `opened`: its links are shown."""

    code: str
    label: str
    links: tuple[Link, ...]
    opened: bool


def _approvals(request: HttpRequest) -> int:
    access = access_of(request)
    if access is None or not is_open():
        return 0
    return approvals_queries.count(actor_of(request), tenant_id=access.tenant.tenant_id)


MONITORING: Final = Group(
    "monitoring",
    _("Monitoring"),
    (
        Entry(_("Overview"), "overview", "gauge", words=_("facilities park live power")),
        Entry(
            _("Approvals"),
            "approvals",
            "shield-check",
            words=_("approve refuse waiting second person requests"),
            one_of=approvals_queries.APPROVING,
            counted=_approvals,
        ),
    ),
    first_open=True,
)
FLEET: Final = Group(
    "fleet",
    _("Fleet"),
    (
        Entry(
            _("Facilities"),
            "facility-list",
            "building-community",
            Permission.FACILITIES_VIEW,
            words=_("sites buildings areas places"),
        ),
        Entry(
            _("Devices"),
            "device-list",
            "cpu",
            Permission.DEVICES_VIEW,
            words=_("meters sensors serial offline"),
        ),
        Entry(
            _("Groups"),
            "group-list",
            "stack-2",
            Permission.DEVICES_VIEW,
            words=_("groups of devices rule bulk fleet"),
        ),
        Entry(
            _("Commands"),
            "command-list",
            "send",
            Permission.DEVICES_VIEW,
            words=_("control switch off restart approve output dark"),
        ),
        Entry(
            _("Device types"),
            "device-type-list",
            "tag",
            Permission.DEVICES_VIEW,
            words=_("models channels"),
        ),
        Entry(
            _("Claim a device"),
            "claim",
            "transfer-in",
            Permission.DEVICES_CLAIM,
            words=_("code QR label take over"),
        ),
        Entry(
            _("Claim codes"),
            "code-list",
            "qrcode",
            Permission.DEVICES_CHANGE,
            words=_("labels print QR"),
        ),
        Entry(
            _("Imports"),
            "import-list",
            "file-import",
            Permission.PARK_IMPORT,
            words=_("CSV upload bulk file"),
        ),
        Entry(
            _("Meter data"),
            "history-import-list",
            "file-import",
            Permission.PARK_IMPORT,
            words=_("NEM12 Green Button history readings import"),
        ),
        Entry(
            _("Exports"),
            "export-list",
            "download",
            Permission.READINGS_EXPORT,
            words=_("CSV Parquet Arrow download readings"),
        ),
    ),
)
FIRMWARE: Final = Group(
    "firmware",
    _("Firmware"),
    (
        Entry(
            _("Releases"),
            "release-list",
            "upload",
            Permission.FIRMWARE_VIEW,
            words=_("firmware versions images updates signature"),
        ),
        Entry(
            _("Roll-outs"),
            "rollout-list",
            "refresh",
            Permission.FIRMWARE_VIEW,
            words=_("firmware updates waves canary deploy"),
        ),
        Entry(
            _("Signing keys"),
            "signing-key-list",
            "key",
            Permission.FIRMWARE_VIEW,
            words=_("firmware Ed25519 public key"),
        ),
    ),
)
BILLING: Final = Group(
    "billing",
    _("Billing"),
    (
        Entry(
            _("Customers"),
            "customer-list",
            "user-circle",
            words=_("who is billed protected addresses"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Agreements"),
            "agreement-list",
            "file-text",
            words=_("contracts accounts move in move out balance"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Bill runs"),
            "bill-run-list",
            "clipboard-list",
            words=_("month billing checklist approve finalise"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Bills"),
            "bill-list",
            "receipt",
            words=_("invoices credit notes drafts billing"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Restatements"),
            "restatement-list",
            "history",
            words=_("late readings corrections credit notes settle"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Billing settings"),
            "billing-settings",
            "settings",
            Permission.BILLS_CHANGE,
            words=_("seller address bank account VAT second person"),
        ),
    ),
)
PRICING: Final = Group(
    "pricing",
    _("Tariffs and prices"),
    (
        Entry(
            _("Tariffs"),
            "tariff-list",
            "coins",
            words=_("prices time of use tiers demand versions"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Prices"),
            "price-series-list",
            "activity",
            words=_("price series exchange spot hourly dynamic"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Compare tariffs"),
            "comparison-create",
            "switch-horizontal",
            words=_("what would it cost cheapest photovoltaics battery rank"),
            all_of=BILLING_OFFICE,
        ),
    ),
)
PAYING: Final = Group(
    "paying",
    _("Payments and supply"),
    (
        Entry(
            _("Payments"),
            "payment-list",
            "credit-card",
            words=_("bank statement CAMT import assign refund Stripe"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Open items"),
            "open-item-list",
            "list",
            words=_("owed overdue age receivables write off"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Dunning"),
            "dunning-list",
            "clock",
            words=_("reminders fees cut off policy cases late"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Instalments"),
            "plan-list",
            "calendar",
            words=_("plans of payments promises"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Tokens"),
            "payg-token-list",
            "key",
            words=_("pay as you go units codes OpenPAYGO paid days issue second person"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Why is it dark?"),
            "outage-search",
            "plug",
            words=_("outage supply off not paid call centre token"),
            all_of=BILLING_OFFICE,
        ),
    ),
)
REPORTS: Final = Group(
    "reports",
    _("Reports"),
    (
        Entry(
            _("Revenue"),
            "revenue",
            "chart-line",
            words=_("turnover unbilled energy open items days of sales outstanding tax"),
            all_of=BILLING_OFFICE,
        ),
        Entry(
            _("Cost centres"),
            "cost-centres",
            "layout-grid",
            words=_("sites net share compared with last month and year"),
            all_of=BILLING_OFFICE,
        ),
    ),
)
PEOPLE: Final = Group(
    "people",
    _("People"),
    (
        Entry(
            _("People"),
            "people",
            "users",
            Permission.MEMBERS_VIEW,
            words=_("members users accounts deactivate"),
        ),
        Entry(
            _("Invitations"),
            "invitations",
            "mail",
            Permission.MEMBERS_VIEW,
            words=_("invite somebody new person join"),
        ),
        Entry(
            _("Roles"),
            "roles",
            "id-badge-2",
            Permission.MEMBERS_VIEW,
            words=_("permissions rights custom role"),
        ),
    ),
)
ADMINISTRATION: Final = Group(
    "administration",
    _("Administration"),
    (
        Entry(
            _("Tenants"),
            "tenants",
            "sitemap",
            Permission.TENANTS_VIEW,
            words=_("tree resellers clients organisations suspend"),
        ),
        Entry(
            _("Applications"),
            "applications",
            "apps",
            Permission.APPLICATIONS_VIEW,
            words=_("oauth clients service accounts api tokens integrations"),
        ),
        Entry(
            _("Act as somebody"),
            "impersonation",
            "user-search",
            Permission.MEMBERS_IMPERSONATE,
            words=_("impersonate support login as"),
        ),
        Entry(
            _("Signing in"),
            "sign-in-settings",
            "key",
            Permission.SIGN_ON_CHANGE,
            words=_("company login single sign-on OpenID domains second factor"),
        ),
        Entry(
            _("Audit log"),
            "audit",
            "history",
            Permission.AUDIT_VIEW,
            words=_("who changed what when log trail"),
        ),
        Entry(
            _("Retention"),
            "retention",
            "clock",
            Permission.RETENTION_CHANGE,
            words=_("keep delete remove data how long storage privacy"),
        ),
        Entry(
            _("Legal holds"),
            "holds",
            "lock",
            Permission.HOLDS_CHANGE,
            words=_("keep dispute evidence court preserve"),
        ),
        Entry(
            _("Control and firmware"),
            "control-rules",
            "adjustments",
            Permission.TENANTS_CHANGE,
            words=_("two persons approval downloads limit policy rules"),
        ),
        Entry(
            _("Updates over DDI"),
            "ddi-settings",
            "cpu",
            Permission.TENANTS_CHANGE,
            words=_("hawkBit SWUpdate RAUC Zephyr firmware gateway token"),
        ),
        Entry(
            _("Branding"),
            "branding",
            "palette",
            Permission.TENANTS_CHANGE,
            words=_("logo name colours look accent"),
        ),
    ),
)
GROUPS: Final = (
    MONITORING,
    FLEET,
    FIRMWARE,
    BILLING,
    PRICING,
    PAYING,
    REPORTS,
    PEOPLE,
    ADMINISTRATION,
)
# The menu under the person's name.
ACCOUNT: Final = (
    Entry(_("Your account"), "account-profile", "user", words=_("profile name language e-mail")),
    Entry(_("Security"), "mfa_index", "shield-lock", words=_("password passkeys second factor")),
    Entry(_("Sessions"), "account-sessions", "devices", words=_("signed in devices sign out")),
    Entry(_("Connected applications"), "oauth:grants", "apps", words=_("consents grants revoke")),
    Entry(_("API reference"), "api:reference", "api", words=_("developers openapi swagger")),
    Entry(_("Design"), "design", "layout-grid", words=_("components style colours")),
)


def visible_entries(request: HttpRequest) -> tuple[tuple[Group, tuple[Entry, ...]], ...]:
    """The groups with the entries that the user may open; no group without one."""
    found = (
        (group, tuple(entry for entry in group.entries if _may_open(request, entry)))
        for group in GROUPS
    )
    return tuple((group, entries) for group, entries in found if entries)


def links(request: HttpRequest) -> tuple[LinkGroup, ...]:
    """The navigation of a page, with the entry that the page lies under marked as current; its
    group is open, and those that the person keeps open.
    """
    groups = visible_entries(request)
    current = _current(request, (entry for _group, entries in groups for entry in entries))
    kept = request.COOKIES.get(OPEN_COOKIE)
    chosen = None if kept is None else kept.split(".")
    return tuple(
        LinkGroup(
            group.code,
            str(group.label),
            tuple(
                Link(
                    str(entry.label),
                    reverse(entry.url_name),
                    entry.icon,
                    entry == current,
                    entry.counted(request) if entry.counted else 0,
                )
                for entry in entries
            ),
            current in entries or (group.first_open if chosen is None else group.code in chosen),
        )
        for group, entries in groups
    )


def account_links(request: HttpRequest) -> tuple[Link, ...]:
    """The menu under the person's name."""
    return tuple(
        Link(str(entry.label), reverse(entry.url_name), entry.icon, current=False)
        for entry in ACCOUNT
        if _may_open(request, entry)
    )


def find(request: HttpRequest, words: Sequence[str]) -> tuple[Link, ...]:
    """The pages that the user may open and whose name or description has a word that begins with
    each of `words`; all of them for no words.
    """
    listed = [entry for _group, entries in visible_entries(request) for entry in entries]
    listed += [entry for entry in ACCOUNT if _may_open(request, entry)]
    return tuple(
        Link(str(entry.label), reverse(entry.url_name), entry.icon, current=False)
        for entry in listed
        if _has_all(f"{entry.label} {entry.words}", words)
    )


def _has_all(text: str, words: Sequence[str]) -> bool:
    own = text.casefold().split()
    return all(any(one.startswith(word.casefold()) for one in own) for word in words)


def _may_open(request: HttpRequest, entry: Entry) -> bool:
    if entry.one_of and not may_one(request, entry.one_of):
        return False
    if not all(may(request, one) for one in entry.all_of):
        return False
    return entry.permission is None or may(request, entry.permission)


def _current(request: HttpRequest, entries: Iterable[Entry]) -> Entry | None:
    """The entry of this page, or the one whose address this page's begins with."""
    best, length = None, 0
    for entry in entries:
        url = reverse(entry.url_name)
        below = request.path.startswith(url) and url != "/"
        if (request.path == url or below) and len(url) > length:
            best, length = entry, len(url)
    return best
