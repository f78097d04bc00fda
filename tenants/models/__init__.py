"""Tenants, users, memberships, the audit trail, and applications with their tokens."""

from tenants.models.audit import AuditChannel, AuditEntry
from tenants.models.branding import Branding
from tenants.models.company_login import (
    CompanyDomain,
    CompanyLogin,
    SecondFactor,
    SignInPolicy,
)
from tenants.models.home import HomeSession
from tenants.models.impersonation import Impersonation
from tenants.models.invitation import Invitation
from tenants.models.membership import Membership
from tenants.models.oauth import (
    AccessToken,
    Application,
    ApplicationKind,
    Consent,
    DeviceGrant,
    Grant,
    IDToken,
    RefreshToken,
    SignOn,
)
from tenants.models.role import CustomRole
from tenants.models.tenant import Tenant, TenantKind, TenantOwned
from tenants.models.two_persons import TwoPersonsRule
from tenants.models.user import User, UserManager

__all__ = [
    "AccessToken",
    "Application",
    "ApplicationKind",
    "AuditChannel",
    "AuditEntry",
    "Branding",
    "CompanyDomain",
    "CompanyLogin",
    "Consent",
    "CustomRole",
    "DeviceGrant",
    "Grant",
    "HomeSession",
    "IDToken",
    "Impersonation",
    "Invitation",
    "Membership",
    "RefreshToken",
    "SecondFactor",
    "SignInPolicy",
    "SignOn",
    "Tenant",
    "TenantKind",
    "TenantOwned",
    "TwoPersonsRule",
    "User",
    "UserManager",
]
