"""How somebody signed in, in the words that applications know: `amr` (RFC 8176) and `acr`.

Ways of signing in are kept by our own codes: password, invitation (a password that was just
chosen), passkey, totp, recovery_codes, company.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# OpenID Connect Extended Authentication Profile ACR Values 1.0: resistant to phishing.
PHISHING_RESISTANT: Final = "phr"
# The profiles of REFEDS for two factors of different kinds, and for one.
TWO_FACTORS: Final = "https://refeds.org/profile/mfa"
ONE_FACTOR: Final = "https://refeds.org/profile/sfa"
CLASSES: Final = (PHISHING_RESISTANT, TWO_FACTORS, ONE_FACTOR)

_REFERENCES: Final = {
    "password": ("pwd",),
    "invitation": ("pwd",),
    "totp": ("otp",),
    "recovery_codes": ("otp",),
    # A key of which nobody says whether it is in hardware, and somebody who has unlocked it.
    "passkey": ("pop", "user"),
}


def amr_of(methods: Sequence[str]) -> list[str]:
    """What was used to sign in, without repetition; empty when we do not know.

    What an organisation's own provider has asked for is not known to us.
    """
    if not methods or any(method not in _REFERENCES for method in methods):
        return []
    found = [reference for method in methods for reference in _REFERENCES[method]]
    # A passkey alone is two factors: what holds it, and what unlocks it.
    several = "passkey" in methods or len({_REFERENCES[method] for method in methods}) > 1
    return list(dict.fromkeys([*found, *(["mfa"] if several else [])]))


def acr_of(methods: Sequence[str]) -> str | None:
    """The class of `CLASSES` that a sign-in belongs to; None when we do not know."""
    references = amr_of(methods)
    if not references:
        return None
    if "pop" in references:
        return PHISHING_RESISTANT
    return TWO_FACTORS if "mfa" in references else ONE_FACTOR
