"""System check: every route of the API declares methods, permissions and scopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.urls import URLPattern, URLResolver
from rest_framework.views import APIView

from portal.api.access import PUBLIC, DeclaredAccess, Requires, declaration_of
from tenants.permissions import permissions_of_scopes


@register(Tags.security)
def check_routes_declare_access(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: a view of the API does not say what a caller needs; it refuses everybody."""
    del app_configs, kwargs
    from portal.api.urls import resources  # the views, which need the apps

    return [
        Error(
            f"the API route {route.name} {fault}",
            hint="Give its view `access = {'GET': Requires(permissions=…, scopes=…)}`.",
            id="portal.E001",
        )
        for route in routes(resources)
        for fault in faults(route)
    ]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the API and the class that serves it."""

    name: str
    view: type[Any] | None


def routes(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[Route]:
    """Every route below `patterns`; `view` is None for a plain function."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns)
        else:
            callback = pattern.callback
            view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
            yield Route(pattern.name or str(pattern.pattern), view)


def faults(route: Route) -> Iterator[str]:
    """Why the route must not serve; nothing when it declares what it has to."""
    view = route.view
    if view is None or not issubclass(view, APIView):
        yield "is no API view"
        return
    if list(view.permission_classes) != [DeclaredAccess]:
        yield "does not leave the decision to DeclaredAccess alone"
    declared = declaration_of(view)
    if not declared:
        yield "declares no access"
    for method, required in declared.items():
        if not hasattr(view, method.lower()):
            yield f"declares {method} and does not serve it"
        if required != PUBLIC and not isinstance(required, Requires):
            yield f"declares {method} by something that is not Requires"
        elif isinstance(required, Requires) and not (
            permissions_of_scopes(frozenset(required.scopes)).issuperset(required.permissions)
        ):
            yield f"declares permissions for {method} that its scopes do not give"
    served = {name for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)}
    for name in sorted(served - {method.lower() for method in declared}):
        yield f"serves {name.upper()} without declaring it"
