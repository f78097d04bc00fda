"""What controllers are answered, as JSON objects.

`root` is the address of the controller, `https://host/{tenant}/controller/v1/{controllerId}`; every
link begins with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]

DAY_S: Final = 86_400


class Part(StrEnum):
    """What a file is for, as hawkBit calls it. Zephyr's client installs applications alone; the
    others do not look at it.
    """

    SYSTEM = "os"
    APPLICATION = "bApp"


class Handling(StrEnum):
    """What a device does with a download or an update.

    hawkBit has “skip” as well. SWUpdate answers a skipped update as a successful one, so nothing is
    ever told to skip: what is not due yet is not shown.
    """

    FORCED = "forced"
    ATTEMPT = "attempt"


@dataclass(frozen=True, slots=True)
class File:
    """An artifact: its name for the device (SWUpdate looks at the ending), digests in hex."""

    name: str
    size: int
    sha1: str
    md5: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """One action: a release for a device. `module` stands in the addresses of its files."""

    action: int
    module: int
    name: str
    version: str
    files: tuple[File, ...]
    handling: Handling = Handling.FORCED
    part: Part = Part.SYSTEM


def polling_interval(seconds: int) -> str:
    """HH:MM:SS, at most a day: clients read it as a time of day."""
    seconds = max(1, min(seconds, DAY_S - 1))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@dataclass(frozen=True, slots=True)
class Due:
    """What a controller finds when it asks: at most one of deploy, confirm and cancel (by the id of
    the action); `tag` changes with what the action says, so that a client sees the change.
    """

    deploy: int | None = None
    confirm: int | None = None
    cancel: int | None = None
    installed: int | None = None
    attributes: bool = False
    tag: int = 0


def controller_base(root: str, *, polling_s: int, due: Due) -> Json:
    """The answer to polling."""
    links: Json = {}
    if due.confirm is not None:
        links["confirmationBase"] = _link(f"{root}/confirmationBase/{due.confirm}?c={due.tag}")
    elif due.cancel is not None:
        links["cancelAction"] = _link(f"{root}/cancelAction/{due.cancel}")
    elif due.deploy is not None:
        links["deploymentBase"] = _link(f"{root}/deploymentBase/{due.deploy}?c={due.tag}")
    if due.installed is not None:
        links["installedBase"] = _link(f"{root}/installedBase/{due.installed}")
    if due.attributes:
        links["configData"] = _link(f"{root}/configData")
    found: Json = {"config": {"polling": {"sleep": polling_interval(polling_s)}}}
    if links:
        found["_links"] = links
    return found


def deployment_base(root: str, deployment: Deployment) -> Json:
    """The answer to `deploymentBase/{id}` and `installedBase/{id}`."""
    return _action(root, "deployment", deployment)


def confirmation_action(root: str, deployment: Deployment) -> Json:
    """The answer to `confirmationBase/{id}`: what somebody is asked to agree to."""
    return _action(root, "confirmation", deployment)


def confirmation_base(
    root: str, *, waiting: int | None, tag: int, by: str, remark: str, at: datetime | None
) -> Json:
    """The answer to `confirmationBase`: whether updates were agreed to in advance (since `at`)."""
    auto: Json = {"active": at is not None}
    links: Json = {}
    if at is not None:
        auto |= {"initiator": by, "remark": remark, "activatedAt": int(at.timestamp() * 1000)}
        links["deactivateAutoConfirm"] = _link(f"{root}/confirmationBase/deactivateAutoConfirm")
    else:
        links["activateAutoConfirm"] = _link(f"{root}/confirmationBase/activateAutoConfirm")
    if waiting is not None:
        links["confirmationBase"] = _link(f"{root}/confirmationBase/{waiting}?c={tag}")
    return {"autoConfirm": auto, "_links": links}


def cancel_action(action: int) -> Json:
    """The answer to `cancelAction/{id}`."""
    return {"id": str(action), "cancelAction": {"stopId": str(action)}}


def artifacts(root: str, module: int, files: Sequence[File]) -> list[Json]:
    """The files of a module, with where they are."""
    return [_file(f"{root}/softwaremodules/{module}/artifacts", file) for file in files]


def md5_line(file: File) -> str:
    """The line of a .MD5SUM file, as md5sum writes it."""
    return f"{file.md5}  {file.name}"


def _action(root: str, member: str, deployment: Deployment) -> Json:
    told: Json = {
        "download": deployment.handling,
        "update": deployment.handling,
        "chunks": [
            {
                "part": deployment.part,
                "version": deployment.version,
                "name": deployment.name,
                "artifacts": artifacts(root, deployment.module, deployment.files),
            }
        ],
    }
    return {"id": str(deployment.action), member: told}


def _file(folder: str, file: File) -> Json:
    # As hawkBit does it: both names on a host with TLS. SWUpdate and RAUC's updater take `download`
    # first; Zephyr's client knows `download-http` alone, of which it takes the path.
    kinds = ("", "-http") if folder.startswith("https:") else ("-http",)
    where = f"{folder}/{file.name}"
    return {
        "filename": file.name,
        "hashes": {"sha1": file.sha1, "md5": file.md5, "sha256": file.sha256},
        "size": file.size,
        "_links": {
            f"{name}{kind}": _link(address)
            for kind in kinds
            for name, address in (("download", where), ("md5sum", f"{where}.MD5SUM"))
        },
    }


def _link(address: str) -> Json:
    return {"href": address}
