"""Pages of the audit log with a million entries of 500 tenants: every search, first page and deep.

In one process, without a network: what is measured is the database's work. One tenant is quiet: its
2 000 entries lie before all others, where a walk by time alone would pass over everything to them.
Beside the time stands the processor time, here and in PostgreSQL, which a busy machine leaves as it
is. The plan of the first page is told with `--plan`.
"""

from __future__ import annotations

import ipaddress
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from devices.benchmarks.stack import open_stack, session_cpu_s
from tenants.domain import audit_queries
from tenants.domain.audit_queries import AuditFilter, Cursor
from tenants.models import AuditEntry
from tenants.scope import Scope, index_order, open_scope

TENANTS: Final = 500
PEOPLE: Final = 1000
QUIET_ENTRIES: Final = 2000
GOAL_MS: Final = 100.0
# Searches that look through entries one by one; the others walk along an index.
SCANS: Final = frozenset({"network", "text found", "text not found"})
SCAN_GOAL_MS: Final = 400.0

_FILL: Final = (
    """INSERT INTO tenants_tenant (kind, name, slug, time_zone, language, created_at)
       SELECT 'operator', 'Tenant ' || n, 't' || n, 'UTC', 'en', now()
       FROM generate_series(1, %(tenants)s) n""",
    """INSERT INTO tenants_user
         (password, email, name, language, time_zone, is_active, created_at)
       SELECT '', 'p' || n || '@example.org', 'Person ' || n, 'en', 'UTC', true, now()
       FROM generate_series(1, %(people)s) n""",
    """INSERT INTO tenants_auditentry (id, at, actor_id, action, subject_type, subject_id,
         subject_name, before, after, tenant_id, reason, channel, address)
       SELECT gen_random_uuid(), now() - (%(entries)s - n) * interval '30 seconds',
         person.first + (n::bigint * 7919) %% %(people)s,
         (ARRAY['device.register', 'membership.change_role', 'facility.change', 'session.begin',
                'consent.give', 'device.suspended'])[1 + n %% 6],
         'devices.device', n %% 10000, 'Meter ' || n,
         jsonb_build_object('name', 'Meter ' || n, 'state', 'active', 'serial', 'WL-' || n),
         jsonb_build_object('name', 'Meter ' || n, 'state', 'suspended', 'serial', 'WL-' || n),
         CASE WHEN n <= %(quiet)s THEN tenant.first
              ELSE tenant.first + 1 + (n::bigint * 31) %% (%(tenants)s - 1) END,
         '', 'portal', ('10.0.' || n %% 250 || '.' || n %% 200)::inet
       FROM generate_series(1, %(entries)s) n,
         (SELECT min(id) AS first FROM tenants_tenant WHERE slug ~ '^t[0-9]+$') tenant,
         (SELECT min(id) AS first FROM tenants_user WHERE email ~ '^p[0-9]+@') person""",
    "VACUUM ANALYZE tenants_auditentry",
)


def add_arguments(parser: ArgumentParser) -> None:
    """How long the trail is, and how often each page is asked for."""
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=20, help="of each page")
    parser.add_argument("--goal-ms", type=float, default=GOAL_MS, help="of the 95th percentile")
    parser.add_argument("--scan-goal-ms", type=float, default=SCAN_GOAL_MS, help="of text, address")
    parser.add_argument("--plan", action="store_true", help="tell the plan of the first page")


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a page is slower than the goal."""
    with open_stack():
        _fill(options.entries)
        scopes = _scopes()
        results = {
            name: {
                search: _measure(scope, wanted, options.requests)
                for search, wanted in _searches(options.entries).items()
            }
            for name, scope in scopes.items()
        }
        plan = _plan(scopes["all tenants"]) if options.plan else []
    slow = {
        f"{scope}: {search}": took["p95_ms"]
        for scope, searches in results.items()
        for search, took in searches.items()
        if took["p95_ms"] > (options.scan_goal_ms if search in SCANS else options.goal_ms)
    }
    told: dict[str, object] = {
        "ok": not slow,
        "entries": options.entries,
        "tenants": TENANTS,
        "goal_ms": options.goal_ms,
        "scan_goal_ms": options.scan_goal_ms,
        "slow": slow,
        "scopes": results,
    }
    return told | ({"plan": plan} if options.plan else {})


def _fill(entries: int) -> None:
    values = {
        "tenants": TENANTS,
        "people": PEOPLE,
        "entries": entries,
        "quiet": min(QUIET_ENTRIES, entries // 2),
    }
    with connections["owner"].cursor() as cursor:
        for statement in _FILL:
            cursor.execute(statement, values if "%" in statement else None)


def _scopes() -> Mapping[str, Scope]:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT id FROM tenants_tenant WHERE slug ~ '^t[0-9]+$' ORDER BY id")
        ids = tuple(row[0] for row in cursor.fetchall())
    return {
        "all tenants": Scope(ids),
        "40 tenants": Scope(ids[100:140]),
        "one tenant": Scope((ids[1],)),
        "a quiet tenant": Scope((ids[0],)),
    }


def _searches(entries: int) -> Mapping[str, AuditFilter]:
    return {
        "everything": AuditFilter(),
        "a person": AuditFilter(person="Person 77"),
        "two actions": AuditFilter(actions=("consent.give", "session.begin")),
        "an action that never was": AuditFilter(actions=("test.never",)),
        "an object": AuditFilter(subject=("devices.device", 5)),
        "network": AuditFilter(network=ipaddress.ip_network("10.0.3.0/24")),
        "text found": AuditFilter(text=f"WL-{entries // 100}"),
        "text not found": AuditFilter(text="nowhere"),
    }


def _measure(scope: Scope, wanted: AuditFilter, requests: int) -> dict[str, float]:
    """The first page, and one from the middle of the trail."""
    with open_scope(scope), CaptureQueriesContext(connection) as asked:
        first = audit_queries.page(wanted=wanted, limit=audit_queries.PAGE_ENTRIES)
    middle = None
    if first.entries:
        newest = first.entries[0]
        middle = Cursor(newest.at - timedelta(days=170), newest.id)
    before, began = session_cpu_s(connection), time.process_time()
    took = sorted(
        _milliseconds(scope, wanted, behind) for behind in (None, middle) for _ in range(requests)
    )
    used, used_there = time.process_time() - began, session_cpu_s(connection) - before
    return {
        "p50_ms": round(took[len(took) // 2], 1),
        "p95_ms": round(took[int(len(took) * 0.95)], 1),
        "cpu_ms": round(used * 1e3 / len(took), 1),
        "database_cpu_ms": round(used_there * 1e3 / len(took), 1),
        "queries": len(asked),
        "entries": len(first.entries),
    }


def _milliseconds(scope: Scope, wanted: AuditFilter, behind: Cursor | None) -> float:
    with open_scope(scope):
        begun = time.perf_counter()
        audit_queries.page(wanted=wanted, behind=behind, limit=audit_queries.PAGE_ENTRIES)
        return (time.perf_counter() - begun) * 1e3


def _plan(scope: Scope) -> list[str]:
    rows = AuditEntry.objects.order_by("-at", "-id").values_list("at", "id")
    with open_scope(scope), index_order():
        return rows[: audit_queries.PAGE_ENTRIES + 1].explain(analyze=True).splitlines()
