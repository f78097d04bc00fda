"""Administration: audit log, applications, the tenant tree, impersonation."""
