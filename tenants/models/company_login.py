"""How people of a tenant sign in: the second step, and the organisation's own OpenID provider."""

from __future__ import annotations

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from tenants import sealing
from tenants.models.tenant import TenantOwned

_PURPOSE = "company-login"


class SecondFactor(models.TextChoices):
    """Of whom a tenant demands a second factor; the order is that of strictness."""

    OPTIONAL = "optional", _("Nobody")
    STAFF = "staff", _("Everybody but consumers")
    EVERYONE = "everyone", _("Everybody")


class SignInPolicy(TenantOwned):
    """What a tenant demands of those who sign in; no row: nothing.

    It holds for the members of the tenant and of all below it; of several the strictest counts.
    """

    second_factor = models.CharField(
        max_length=16, choices=SecondFactor, default=SecondFactor.OPTIONAL
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="tenants_signinpolicy_one_per_tenant"),
            models.CheckConstraint(
                condition=models.Q(second_factor__in=SecondFactor.values),
                name="tenants_signinpolicy_second_factor_known",
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.tenant_id}"


class CompanyLogin(TenantOwned):
    """The OpenID provider of an organisation, whose people sign in there.

    It speaks for addresses in the verified domains of its tenant, and for people who are members of
    that tenant or of those below it and of no other.

    `role_rules` is a list of `[group, role]`: the first whose group the provider names gives the
    role, else `default_role` does; without either nobody gets in. A role is the code of a built-in
    one, or the id of a custom one.
    """

    key = models.CharField(max_length=32, editable=False)
    name = models.CharField(max_length=60)
    issuer = models.CharField(max_length=300)
    client_id = models.CharField(max_length=255)
    sealed_secret = models.TextField(editable=False)
    extra_scopes = models.CharField(max_length=200, blank=True, default="")
    groups_claim = models.CharField(max_length=60, default="groups")
    role_rules = models.JSONField(default=list, encoder=DjangoJSONEncoder, blank=True)
    default_role = models.CharField(max_length=20, blank=True, default="")
    is_active = models.BooleanField(default=True)
    # Password and passkey are refused; one named administrator keeps them for the day when the
    # provider does not answer.
    is_enforced = models.BooleanField(default=False)
    break_glass = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="tenants_companylogin_one_per_tenant"),
            models.UniqueConstraint(fields=["key"], name="tenants_companylogin_key_unique"),
            # Target of the composite foreign key of its domains.
            models.UniqueConstraint(fields=["tenant", "id"], name="tenants_companylogin_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(is_enforced=False)
                | models.Q(
                    is_active=True, break_glass__isnull=False, last_success_at__isnull=False
                ),
                name="tenants_companylogin_enforced_safely",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def seal_secret(self, secret: str) -> None:
        """Keep the client secret, encrypted for this tenant alone."""
        self.sealed_secret = sealing.seal(secret, purpose=_PURPOSE, owner=str(self.tenant_id))

    def open_secret(self) -> str:
        """The client secret; raises Unsealable."""
        return sealing.unseal(self.sealed_secret, purpose=_PURPOSE, owner=str(self.tenant_id))


class CompanyDomain(TenantOwned):
    """A domain of e-mail addresses that an organisation says is its own.

    It counts once a DNS record has proven it (`verified_at`), and no domain counts for two tenants.
    `missing_since`: the record has been gone at every look since.
    """

    company_login = models.ForeignKey(
        CompanyLogin, on_delete=models.CASCADE, related_name="domains"
    )
    domain = models.CharField(max_length=253)
    challenge = models.CharField(max_length=32, editable=False)
    verified_at = models.DateTimeField(null=True, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    missing_since = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["domain", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "domain"], name="tenants_companydomain_once_per_tenant"
            ),
            models.UniqueConstraint(
                fields=["domain"],
                condition=models.Q(verified_at__isnull=False),
                name="tenants_companydomain_verified_once",
            ),
            models.CheckConstraint(
                condition=models.Q(domain=Lower("domain")) & models.Q(domain__contains="."),
                name="tenants_companydomain_lower_case",
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    @property
    def audit_name(self) -> str:
        """How the audit trail calls it."""
        return self.domain
