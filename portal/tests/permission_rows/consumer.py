"""The consumer's door.

It has sessions of its own: one of the portal, which the people of the table have, opens nothing
here and is led to sign in (`portal/tests/test_consumer.py` asks with its own sessions).
"""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody

# fmt: off
AREA = Area(
    rows=(
        anybody("consumer:home", "GET", 302),
        anybody("consumer:facility", "GET", 302, "facility"),
        anybody("consumer:today", "GET", 302, "facility"),
        anybody("consumer:use", "GET", 302, "facility"),
        anybody("consumer:bills", "GET", 302),
        anybody("consumer:bill", "GET", 302, "bill"),
        anybody("consumer:bill-pdf", "GET", 302, "bill"),
        anybody("consumer:compare", "GET", 302),
        anybody("consumer:compare", "POST", 302),
        anybody("consumer:comparison", "GET", 302, "comparison"),
        anybody("consumer:prepaid", "GET", 302),
        anybody("consumer:prepaid-warning", "POST", 302, "agreement"),
        anybody("consumer:sign-in", "GET", 302),
        anybody("consumer:callback", "GET", 400),
        anybody("consumer:sign-out", "POST", 302),
        anybody("consumer:signed-out", "GET", 200),
        anybody("consumer:backchannel-logout", "POST", 400),
        anybody("consumer:offline", "GET", 200),
        anybody("consumer:manifest", "GET", 200),
        anybody("consumer:service-worker", "GET", 200),
    ),
)
# fmt: on
