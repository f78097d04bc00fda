"""A roll-out in a database that a test may kill: made, and started, in a process of its own.

`python -m firmware.tests.crash_rollout make` registers devices and keeps an approved draft, and
prints what the devices need as JSON; `start ROLLOUT` starts it. Both work on the servers that the
environment names. What needs models is imported once Django is set up.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from argparse import Namespace
from dataclasses import asdict

import django

DEVICES = 12
IMAGE_BYTES = 96 * 1024
SOAK_S = 3


def make() -> dict[str, object]:
    """Devices, a release, a draft with waves of 1, 1 and 10 devices."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from devices.benchmarks import ingest
    from devices.simulator.image import build_image
    from firmware.benchmarks import rollout

    devices = ingest.register_many(DEVICES, 2)
    key = Ed25519PrivateKey.generate()
    image = build_image(rollout.NEW, device_type=rollout.TYPE, size=IMAGE_BYTES)
    # So slow that each download lasts for some seconds.
    options = Namespace(soak=SOAK_S, downloads=0, rate=DEVICES * 12_000)
    return {
        "rollout": rollout._prepare(options, key, image, devices),
        "devices": [asdict(device) for device in devices],
        "key": key.public_key().public_bytes_raw().hex(),
        "image": hashlib.sha256(b"before").hexdigest(),
        "version": rollout.OLD,
    }


def start(rollout_id: int) -> None:
    """As a person does."""
    from firmware.benchmarks import rollout

    rollout.start(rollout_id)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    if sys.argv[1] == "make":
        print(json.dumps(make()))
    else:
        start(int(sys.argv[2]))
