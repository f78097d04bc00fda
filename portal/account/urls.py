"""Routes of signing in and of the account pages.

Those that django-allauth leads to by itself have the names that it knows.
"""

from __future__ import annotations

from django.urls import path

from portal.account import (
    views_company,
    views_password,
    views_profile,
    views_security,
    views_sessions,
    views_settings,
    views_sign_in,
)

urlpatterns = [
    path("accounts/login/", views_sign_in.sign_in, name="login"),
    path("accounts/login/", views_sign_in.sign_in, name="account_login"),
    path("accounts/login/passkey", views_sign_in.passkey, name="mfa_login_webauthn"),
    path("accounts/login/code", views_sign_in.SecondFactorView.as_view(), name="mfa_authenticate"),
    path("accounts/company/<slug:key>/", views_company.start, name="company-start"),
    path("accounts/company/<slug:key>/back", views_company.callback, name="company-callback"),
    path("accounts/logout/", views_sign_in.SignOutView.as_view(), name="logout"),
    path(
        "accounts/reauthenticate/password",
        views_sign_in.ReauthenticateByPasswordView.as_view(),
        name="account_reauthenticate",
    ),
    path(
        "accounts/reauthenticate/code",
        views_sign_in.ReauthenticateByCodeView.as_view(),
        name="mfa_reauthenticate",
    ),
    path(
        "accounts/reauthenticate/passkey",
        views_sign_in.ReauthenticateByPasskeyView.as_view(),
        name="mfa_reauthenticate_webauthn",
    ),
    path("accounts/password/", views_password.forgotten, name="password-forgotten"),
    path("accounts/password/sent", views_password.forgotten_sent, name="password-forgotten-sent"),
    path(
        "accounts/password/<uidb64>/<token>/",
        views_password.SetPasswordView.as_view(),
        name="password-set",
    ),
    path("tenants/sign-in/", views_settings.overview, name="sign-in-settings"),
    path("tenants/sign-in/second-factor", views_settings.set_policy, name="sign-in-policy"),
    path("tenants/sign-in/company/", views_settings.edit_login, name="company-login"),
    path("tenants/sign-in/company/remove", views_settings.remove_login, name="company-remove"),
    path("tenants/sign-in/company/enforce", views_settings.enforce, name="company-enforce"),
    path("tenants/sign-in/domains/", views_settings.add_domain, name="company-domain-add"),
    path(
        "tenants/sign-in/domains/<int:pk>/check",
        views_settings.check_domain,
        name="company-domain-check",
    ),
    path(
        "tenants/sign-in/domains/<int:pk>/remove",
        views_settings.remove_domain,
        name="company-domain-remove",
    ),
    path("account/", views_profile.profile, name="account-profile"),
    path("account/email/", views_profile.email, name="account-email"),
    path("account/email/<str:token>/", views_profile.confirm_email, name="account-email-confirm"),
    path("account/sessions/", views_sessions.sessions, name="account-sessions"),
    path("account/sessions/end-others", views_sessions.end_others, name="account-sessions-end"),
    path("account/sessions/<int:pk>/end", views_sessions.end, name="account-session-end"),
    path("account/security/", views_security.overview, name="mfa_index"),
    path("account/security/password", views_password.change, name="account_change_password"),
    path(
        "account/security/passkeys/new",
        views_security.AddPasskeyView.as_view(),
        name="mfa_add_webauthn",
    ),
    path(
        "account/security/passkeys/<int:pk>/name",
        views_security.RenamePasskeyView.as_view(),
        name="mfa_edit_webauthn",
    ),
    path(
        "account/security/passkeys/<int:pk>/remove",
        views_security.RemovePasskeyView.as_view(),
        name="mfa_remove_webauthn",
    ),
    path("account/security/app/", views_security.AddAppView.as_view(), name="mfa_activate_totp"),
    path(
        "account/security/app/remove",
        views_security.RemoveAppView.as_view(),
        name="mfa_deactivate_totp",
    ),
    path(
        "account/security/recovery-codes/",
        views_security.RecoveryCodesView.as_view(),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/security/recovery-codes/new",
        views_security.NewRecoveryCodesView.as_view(),
        name="mfa_generate_recovery_codes",
    ),
]
