"""Base classes of background tasks."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from celery import Task

from tenants.domain import audit
from tenants.models import AuditChannel
from tenants.scope import Scope, open_scope


class KeywordTask(Task[Any, Any]):
    """A task that takes keyword arguments only and ignores those it does not know.

    An argument that a newer version of the caller sends must not break a worker that still runs
    the older task, nor the other way round.
    """

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; TypeError for positional arguments."""
        if args:
            raise TypeError(f"{self.name} takes keyword arguments only")
        with audit.origin(audit.Origin(AuditChannel.TASK)):
            return self.run(**self._known(kwargs))

    def _known(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        parameters = inspect.signature(self.run).parameters
        return {name: value for name, value in kwargs.items() if name in parameters}


class ScopedTask(KeywordTask):
    """A task that runs in the scope of `tenant_ids` (and `facility_ids`, when it is narrowed).

    Both are arguments of the call; the task itself gets only what it declares.
    """

    abstract = True

    def __call__(
        self,
        *args: Any,
        tenant_ids: Sequence[int],
        facility_ids: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open the scope, then run the task in its transaction."""
        scope = Scope(tuple(tenant_ids), None if facility_ids is None else tuple(facility_ids))
        with open_scope(scope):
            return super().__call__(*args, **kwargs)
