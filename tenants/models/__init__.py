"""Tenants, users, memberships and the audit trail."""

from tenants.models.audit import AuditEntry
from tenants.models.membership import Membership
from tenants.models.tenant import Tenant, TenantKind, TenantOwned
from tenants.models.user import User, UserManager

__all__ = [
    "AuditEntry",
    "Membership",
    "Tenant",
    "TenantKind",
    "TenantOwned",
    "User",
    "UserManager",
]
