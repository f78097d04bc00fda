"""A device that asks for its updates over DDI, and a roll-out that has something for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.test import Client

from devices.models import Device, DeviceType
from devices.tests import factories as devices
from firmware.artifacts import store
from firmware.domain import ddi_keys
from firmware.models import (
    Artifact,
    ArtifactKind,
    Medium,
    Release,
    RolloutTarget,
    RolloutWave,
    TargetState,
    UpdateEvent,
)
from firmware.tests import factories as firmware
from tenants.models import Tenant
from tenants.scope import Scope, open_scope


@dataclass
class Ddi:
    """A device with its token, as it speaks."""

    tenant: Tenant
    device: Device
    kind: DeviceType
    token: str
    client: Client

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    @property
    def root(self) -> str:
        """Its address."""
        return f"/{self.tenant.slug}/controller/v1/{self.device.serial}"

    def ask(self, path: str = "", **headers: str) -> Any:
        """GET; a full address is asked as it is."""
        where = path.removeprefix("http://testserver") if "://" in path else self.root + path
        return self.client.get(where, headers=self._headers(headers))

    def tell(self, path: str, body: object, method: str = "POST", **headers: str) -> Any:
        """POST or PUT."""
        return self.client.generic(
            method,
            self.root + path,
            body if isinstance(body, bytes) else json.dumps(body),
            content_type="application/json",
            headers=self._headers(headers),
        )

    def links(self) -> dict[str, str]:
        """What polling tells to do: the addresses by their names."""
        found: dict[str, dict[str, str]] = self.ask().json().get("_links", {})
        return {name: link["href"] for name, link in found.items()}

    def feedback(
        self, action: int, execution: str, finished: str = "none", *details: str, of: str = ""
    ) -> Any:
        """News of a deployment (`of`: of another kind of action)."""
        status: dict[str, Any] = {
            "execution": execution,
            "result": {"finished": finished},
            "details": list(details),
        }
        path = f"/{of or 'deploymentBase'}/{action}/feedback"
        return self.tell(path, {"id": str(action), "status": status})

    def events(self, target: RolloutTarget) -> list[tuple[str, str, str]]:
        """What was told to the roll-out: kind, code and detail."""
        with open_scope(self.scope):
            rows = UpdateEvent.objects.filter(target=target).order_by("pk")
            return list(rows.values_list("kind", "code", "detail"))

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"authorization": f"TargetToken {self.token}", **given}


def speaking(of: Tenant | None = None, kind: DeviceType | None = None) -> Ddi:
    """A device that may speak."""
    tenant = of or devices.tenant()
    with open_scope(Scope((tenant.pk,))):
        kind = kind or ddi_type(tenant)
        device = devices.device(devices.facility(tenant), kind).device
        token = ddi_keys.issue_target_token(device_id=device.pk, actor_id=None)
    return Ddi(tenant, device, kind, token, Client())


def ddi_type(of: Tenant) -> DeviceType:
    """A type whose devices are updated over DDI."""
    kind = devices.device_type(of)
    kind.capabilities = ["ddi"]
    kind.save(update_fields=["capabilities"])
    return kind


def released(
    of: Tenant, kind: DeviceType, content: bytes, version: str = "1.1.0", form: str = "raw"
) -> Release:
    """A release whose file is in the store."""
    digest = hashlib.sha256(content).hexdigest()
    image = Artifact.objects.create(
        tenant=of,
        sha256=digest,
        size=len(content),
        kind=ArtifactKind.IMAGE,
        stored_name=store.write(content, sha256=digest),
        header={"format": form},
    )
    return firmware.release(of, kind, version, made=image)


def offered(
    ddi: Ddi, content: bytes = b"image", *, version: str = "1.1.0", form: str = "raw"
) -> RolloutTarget:
    """A target that is offered to the device."""
    with open_scope(ddi.scope):
        release = released(ddi.tenant, ddi.kind, content, version, form)
        wave = RolloutWave.objects.create(
            tenant=ddi.tenant,
            rollout=firmware.rollout(ddi.tenant, release),
            number=1,
            size=1,
            state="running",
            started_at=firmware.START,
        )
        target = firmware.target(wave, ddi.device)
        target.state, target.medium = TargetState.OFFERED, Medium.DDI
        target.payload_sha256, target.payload_size = release.artifact.sha256, len(content)
        target.to_version = release.version
        target.save()
        return target


def set_state(ddi: Ddi, target: RolloutTarget, state: TargetState, *, again: bool = False) -> None:
    """What the roll-out decides; `again`: another attempt."""
    with open_scope(ddi.scope):
        changed: dict[str, object] = {"state": state}
        if again:
            changed["update_uid"] = uuid4()
        RolloutTarget.objects.filter(pk=target.pk).update(**changed)


def state_of(ddi: Ddi, target: RolloutTarget) -> str:
    """How far the target has come."""
    with open_scope(ddi.scope):
        return str(RolloutTarget.objects.get(pk=target.pk).state)


def number_in(link: str) -> int:
    """The action of a link."""
    return int(link.partition("?")[0].rpartition("/")[2])


def whole(response: Any) -> bytes:
    """All that an answer sends; the client closes what was read to its end."""
    content: bytes = b"".join(response) if response.streaming else response.content
    return content
