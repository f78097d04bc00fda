"""Who: tenants, users, memberships, roles and the scope that a query runs in."""
