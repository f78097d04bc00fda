"""What django-allauth asks of us: who may sign in, what is told, how secrets are kept."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.stagekit import clear_login
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.account import devices, events, session
from portal.account.limits import Attempt
from portal.middleware import client_address
from portal.oauth import session as sign_on
from portal.outbound import Session
from tenants import sealing
from tenants.domain.company_queries import enforced_for, needs_second_factor
from tenants.models import User

TOO_MANY = "too_many"
_PURPOSE = "mfa"


class AccountAdapter(DefaultAccountAdapter):
    """Signing in and out, and what happens around an account."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        TOO_MANY: gettext_lazy("Too many wrong passwords. Wait a few minutes, then try again."),
        "incorrect_password": gettext_lazy("This is not your password. Try again."),
        "incorrect_code": gettext_lazy(
            "This code is not valid, or it was used before. Wait for the next one, then try again."
        ),
        "too_many_login_attempts": gettext_lazy(
            "Too many wrong codes. Wait a few minutes, then try again."
        ),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: accounts come by invitation or by a company's own sign-in."""
        del request
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that limits count by."""
        return client_address(request) or "local"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """The account of an address and a password, within the limits; ValidationError beyond.

        The hash is computed for an unknown address as well.
        """
        email = str(credentials["email"])
        attempt = Attempt(address=client_address(request) or "", email=email)
        if attempt.begin() is not None:
            raise self.validation_error(TOO_MANY)
        user = auth.authenticate(request, username=email, password=credentials["password"])
        # Whose organisation demands its own sign-in is refused like somebody with a wrong password.
        if not isinstance(user, User) or enforced_for(user) is not None:
            return None
        attempt.succeeded()
        return user

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Refuse who may not sign in, or not in this way."""
        if route := enforced_for(user):
            text = _("Your organisation asks you to sign in with %(name)s.")
            messages.error(request, text % {"name": route.name})
            clear_login(request)
            return HttpResponseRedirect(reverse("login"))
        refused: HttpResponse | None = super().pre_login(request, user, **kwargs)
        return refused

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        """How somebody can prove it once more; not at all with us, whose organisation does that."""
        if isinstance(user, User) and enforced_for(user) is not None:
            return []
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return methods

    def reauthenticate(self, user: User, password: str) -> bool:
        """Whether it is the password of somebody who is signed in; counted like a sign-in."""
        found = self.authenticate(self.request, email=user.email, password=password)
        return found == user

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """Who was shut out learns no more than somebody unknown."""
        del user
        messages.error(request, _("This account cannot be used to sign in."))
        return HttpResponseRedirect(reverse("login"))

    def login(self, request: HttpRequest, user: User) -> None:
        """Begin the session, once every step of signing in is done."""
        steps = [_method(record) for record in get_authentication_records(request, user)]
        *before, method = steps or ["unknown"]
        session.sign_in(request, user, method=method, before=before)

    def logout(self, request: HttpRequest) -> None:
        """End the session, in every application too."""
        sign_on.end_everywhere(sign_on.known_sid(request))
        auth.logout(request)

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        """Where the person wanted to go."""
        del user
        url = kwargs.get("redirect_url") or self.get_login_redirect_url(request)
        return HttpResponseRedirect(url)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Whether `app` asks anew who it is.

        Somebody with neither password nor second factor of our own proves it by signing in again.
        """
        required: bool = super().is_reauthentication_required(app=app, **kwargs)
        request = self.request
        if required and isinstance(request.user, User):
            if self.get_reauthentication_methods(request.user):
                return True
            if not session.signed_in_lately(request):
                query = urlencode({"again": "1", "next": request.get_full_path()})
                raise ImmediateHttpResponse(HttpResponseRedirect(f"{reverse('login')}?{query}"))
            return False
        return required

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """Tell of a change to an account's security, by e-mail and in the audit trail."""
        del context, email
        if event := events.of_allauth(template_prefix):
            events.tell(self.request, user, event)


def _method(record: dict[str, Any]) -> str:
    """The last step of signing in: password, passkey, totp or recovery_codes."""
    if record["method"] != "mfa":
        return str(record["method"])
    return "passkey" if record["type"] == Authenticator.Type.WEBAUTHN else str(record["type"])


class MfaAdapter(DefaultMFAAdapter):
    """Second factors and passkeys."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": gettext_lazy(
            "This code is not valid, or it was used before. Wait for the next one, then try again."
        ),
        "cannot_delete_authenticator": gettext_lazy(
            "Your organisation asks for a second factor: add another one before you remove this."
        ),
    }

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Whether a second factor is left, or nobody demands one."""
        others = Authenticator.objects.filter(user=authenticator.user_id).exclude(
            type=Authenticator.Type.RECOVERY_CODES
        )
        if others.exclude(pk=authenticator.pk).exists():
            return True
        return not needs_second_factor(user_id=authenticator.user_id)

    def encrypt(self, text: str) -> str:
        """Seal a secret for the database."""
        return sealing.seal(text, purpose=_PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        """Open it again; raises Unsealable."""
        return sealing.unseal(encrypted_text, purpose=_PURPOSE)

    def generate_authenticator_name(self, user: User, type: str) -> str:  # noqa: A002
        """The browser that a passkey is made in."""
        del user, type
        return str(devices.describe(self.request.headers.get("User-Agent", "")))

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """For which site passkeys are made: the installation's address."""
        host = self.request.get_host().rpartition(":")[0] or self.request.get_host()
        known = settings.PUBLIC_URL.partition("://")[2].partition("/")[0].partition(":")[0]
        return {"id": known if settings.HTTPS else host, "name": "Wattline"}


class CompanyAdapter(DefaultSocialAccountAdapter):
    """Organisations' own providers; the flow is in `views_company.py`."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Never by this way: `tenants.domain.company_arrival` decides who gets an account."""
        del request, sociallogin
        return False

    def get_requests_session(self) -> Session:
        """Reaches providers, within limits."""
        return Session()
