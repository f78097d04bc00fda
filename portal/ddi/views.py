"""Polling, deployments and what is told of them, cancellations, consent, attributes."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse

from firmware.ddi import answers, requests
from firmware.domain import ddi_consent
from firmware.domain import ddi_operations as operations
from firmware.domain.ddi_doors import Controller
from portal.ddi.exchange import answer, body_of, ddi_view, done, root_of


@ddi_view("GET")
def base(request: HttpRequest, controller: Controller) -> HttpResponse:
    """What there is to do."""
    polled = operations.poll(controller=controller, now=_now())
    found = answers.controller_base(
        root_of(request, controller), polling_s=polled.polling_s, due=polled.due
    )
    return answer(request, found)


@ddi_view("PUT")
def config_data(request: HttpRequest, controller: Controller) -> HttpResponse:
    """The device tells of itself."""
    told = requests.read_attributes(body_of(request))
    operations.take_attributes(controller=controller, told=told, now=_now())
    return done()


@ddi_view("GET")
def deployment(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """What to install."""
    found = operations.deployment(controller=controller, action_id=action, now=_now())
    return answer(request, answers.deployment_base(root_of(request, controller), found))


@ddi_view("POST")
def feedback(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """How far the device is."""
    told = requests.read_feedback(body_of(request))
    operations.feedback(controller=controller, action_id=action, told=told, now=_now())
    return done()


@ddi_view("GET")
def installed(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """What was installed."""
    found = operations.installed(controller=controller, action_id=action)
    return answer(request, answers.deployment_base(root_of(request, controller), found))


@ddi_view("GET")
def cancel(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """What to stop."""
    found = operations.to_cancel(controller=controller, action_id=action)
    return answer(request, answers.cancel_action(found))


@ddi_view("POST")
def cancel_feedback(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """Whether the device has stopped."""
    told = requests.read_feedback(body_of(request))
    operations.cancel_feedback(controller=controller, action_id=action, told=told, now=_now())
    return done()


@ddi_view("GET")
def confirmation_base(request: HttpRequest, controller: Controller) -> HttpResponse:
    """Whether updates were agreed to in advance."""
    found = ddi_consent.consent_state(controller=controller, now=_now())
    told = answers.confirmation_base(
        root_of(request, controller),
        waiting=found.waiting,
        tag=found.tag,
        by=found.by,
        remark=found.remark,
        at=found.at,
    )
    return answer(request, told)


@ddi_view("GET")
def confirmation(request: HttpRequest, controller: Controller, action: int) -> HttpResponse:
    """What to agree to."""
    found = ddi_consent.to_confirm(controller=controller, action_id=action)
    return answer(request, answers.confirmation_action(root_of(request, controller), found))


@ddi_view("POST")
def confirmation_feedback(
    request: HttpRequest, controller: Controller, action: int
) -> HttpResponse:
    """Whether somebody at the device agrees."""
    said = requests.read_consent(body_of(request))
    ddi_consent.consent(controller=controller, action_id=action, said=said, now=_now())
    return done()


@ddi_view("POST")
def agree_in_advance(request: HttpRequest, controller: Controller) -> HttpResponse:
    """Somebody at the device agrees to all updates."""
    said = requests.read_auto_confirm(body_of(request, optional=True))
    ddi_consent.agree_in_advance(controller=controller, said=said, now=_now())
    return done()


@ddi_view("POST")
def ask_again(request: HttpRequest, controller: Controller) -> HttpResponse:
    """Somebody at the device wants to be asked again."""
    del request
    ddi_consent.ask_again(controller=controller)
    return done()


def _now() -> datetime:
    return datetime.now(UTC)
