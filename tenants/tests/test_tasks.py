"""Tasks open their scope and tolerate arguments of another version."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from tenants.models import Tenant
from tenants.scope import NoScope, require_scope
from tenants.tasks import KeywordTask, ScopedTask
from tenants.tests import factories

_app = Celery("test", set_as_current=False)


@_app.task(base=ScopedTask, name="test.slugs")
def slugs(*, prefix: str = "") -> list[str]:
    return [prefix + tenant.slug for tenant in Tenant.objects.order_by("slug")]


@_app.task(base=KeywordTask, name="test.plain")
def plain(*, number: int) -> int:
    return number + 1


def test_scoped_task_sees_its_tenants_only(db: None) -> None:
    ours, _theirs = factories.tenant(), factories.tenant()
    assert slugs(tenant_ids=[ours.pk], prefix="-") == [f"-{ours.slug}"]
    with pytest.raises(NoScope):
        require_scope()


def test_scoped_task_without_tenants_is_refused(db: None) -> None:
    without: dict[str, Any] = {}
    with pytest.raises(TypeError, match="tenant_ids"):
        slugs(**without)


def test_unknown_arguments_are_ignored(db: None) -> None:
    assert plain(number=1, sent_by_a_newer_version=True) == 2
    assert slugs(tenant_ids=[], unknown=1) == []


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="keyword arguments only"):
        plain(1)
