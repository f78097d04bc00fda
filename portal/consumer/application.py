"""What makes the consumer view an application that can be installed: manifest, service worker and
the page for times without a network.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from django.conf import settings
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _

# Colours of the browser's own frame, light and dark; those of the page in `consumer.css`.
THEME: Final = {"light": "#f4f6f9", "dark": "#0d131c"}
_ICONS: Final = (
    ("img/app/icon-192.png", "192x192", "any"),
    ("img/app/icon-512.png", "512x512", "any"),
    ("img/app/maskable-512.png", "512x512", "maskable"),
)
# What the page without a network is made of.
_SHELL: Final = (
    "css/consumer.css",
    "js/wattline/theme.js",
    "js/consumer/offline.js",
    "js/consumer/keeping.js",
    "js/consumer/format.js",
    "img/favicon.svg",
)
_WORKER: Final = "js/consumer/service-worker.js"


def manifest() -> dict[str, Any]:
    """The web application manifest; colours are those of the light theme."""
    first = reverse("consumer:home")
    return {
        "id": first,
        "name": _("Wattline Home"),
        "short_name": "Wattline",
        "description": _("Your home's electricity, every two seconds."),
        "start_url": first,
        "scope": first,
        "display": "standalone",
        "background_color": THEME["light"],
        "theme_color": THEME["light"],
        "categories": ["utilities", "lifestyle"],
        "icons": [
            {"src": static(file), "sizes": sizes, "type": "image/png", "purpose": purpose}
            for file, sizes, purpose in _ICONS
        ],
    }


def offline_page() -> dict[str, Any]:
    """The context of the page without a network: texts alone, since it is about nobody."""
    return {
        "page": {
            "strings": {
                "measured": _("Last known, %s"),
                "none": _("Nothing is known yet: open this page once with a connection."),
                "uses": _("Your home used"),
                "grid": _("Grid"),
                "generation": _("Solar"),
                "storage": _("Battery"),
                "today": _("Today until then"),
            }
        }
    }


def service_worker() -> str:
    """The script, preceded by what it keeps: its version is a hash of all that."""
    source = (settings.BASE_DIR / "static" / _WORKER).read_text(encoding="utf-8")
    page = render_to_string("consumer/offline.html", offline_page())
    shell = [static(name) for name in _SHELL]
    digest = hashlib.sha256(json.dumps([source, page, shell]).encode()).hexdigest()[:12]
    values = {
        "version": digest,
        "offline": reverse("consumer:offline"),
        "scope": reverse("consumer:home"),
        "shell": shell,
        "static": settings.STATIC_URL,
    }
    return f"const SETUP = {json.dumps(values)};\n{source}"
