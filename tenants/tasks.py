"""Base classes of background tasks."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final

from celery import Task

from tenants.domain import audit
from tenants.models import AuditChannel
from tenants.scope import Scope, open_scope

# The header of a message that carries where a task was sent from.
_ORIGIN: Final = "wattline_origin"


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
        with audit.origin(audit.Origin(AuditChannel.TASK, **self._carried())):
            return self.run(**self._known(kwargs))

    def apply_async(
        self, args: Any = None, kwargs: Any = None, *others: Any, **options: Any
    ) -> Any:
        """Send the task, with the address and the impersonation that it is sent under: what it
        changes in somebody's name is told of like what the request itself changes.
        """
        where = audit.current_origin()
        if where.address or where.impersonator_id:
            carried = {
                "address": where.address,
                "impersonator_id": where.impersonator_id,
                "reason": where.reason,
            }
            options["headers"] = {**(options.get("headers") or {}), _ORIGIN: carried}
        return super().apply_async(args, kwargs, *others, **options)

    def _carried(self) -> dict[str, Any]:
        """What the message carries of its sender; a worker has the headers as attributes."""
        headers = self.request.headers or {}
        found: dict[str, Any] = headers.get(_ORIGIN) or self.request.get(_ORIGIN) or {}
        return found

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
