"""Django settings; what differs between installations comes from the environment (`env.py`)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from firmware.artifacts import places
from portal import env
from tenants.permissions import ACCESS_SCOPES

BASE_DIR = env.CHECKOUT
HOME = env.home()

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
# Behind a TLS proxy; `make up` serves plain HTTP on loopback.
HTTPS = env.flag("WATTLINE_HTTPS", default=False)

INSTALLED_APPS = [
    "tenants",
    "devices",
    "firmware",
    "billing",
    "portal",
    "channels",
    "django_tables2",
    "django_filters",
    "oauth2_provider",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "django.forms",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.PrivateMiddleware",
    "portal.frame.middleware.LanguageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "portal.account.middleware.AccountMiddleware",
    "portal.frame.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.middleware.OriginMiddleware",
    "portal.middleware.ScopeMiddleware",
]

FORM_RENDERER = "portal.frame.forms.PortalRenderer"
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        # Only for what packages bring; a template of ours comes first.
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {"frame": "portal.frame.templatetags.frame"},
            "builtins": ["portal.frame.templatetags.acting"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.frame.context.frame",
            ],
        },
    }
]

# Three roles on one database: `default` is the application under row-level security, `owner` runs
# migrations, `ingest` writes telemetry and reads nothing but credentials and cursors. A process
# needs the URLs of the roles that it works with: the portal runs without the other two, so that
# nothing which breaks into it finds a way past the wall in its environment.
_POOL = {"min_size": 1, "max_size": 12, "timeout": 10}
# No page may hold the database up: a statement that runs so long has lost its reader, a transaction
# that idles so long its process. A task that needs longer says so (`tenants.scope.long_scope`).
_TIMEOUTS = (
    "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=5min"
)
_APP = env.database("DATABASE_APP_URL")
DATABASES = {
    "default": {
        **_APP,
        "OPTIONS": {
            **_APP["OPTIONS"],
            "pool": _POOL,
            "options": _TIMEOUTS,
            # For the statements of devices/telemetry/prepared.py; the ORM prepares none.
            "prepare_threshold": 5,
        },
    },
    "owner": env.database("DATABASE_URL", optional=True),
    "ingest": env.database("DATABASE_INGEST_URL", optional=True),
}
DATABASE_ROUTERS = ["tenants.routers.OwnerMigrates"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "portal.pools.SharedCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"pool_class": "portal.pools.SharedPool"},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "channels"},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "celery:"}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "default"

AUTH_USER_MODEL = "tenants.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "tenants.hashers.SecretHasher",  # secrets of applications; passwords never
]
# OWASP ASVS 2.1: length counts, and that nobody else has thought of it; no rules of composition.
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["portal.frame.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Signing in: portal/account/, docs/sign-on.md ---

ACCOUNT_ADAPTER = "portal.account.adapter.AccountAdapter"
MFA_ADAPTER = "portal.account.adapter.MfaAdapter"
SOCIALACCOUNT_ADAPTER = "portal.account.adapter.CompanyAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
# An account's address has been proven before it has the account: by an invitation, by a company's
# own sign-in, by the link of a change.
ACCOUNT_EMAIL_VERIFICATION = "none"
# Before the account's security is changed, the person proves once more who it is.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_RATE_LIMITS = {"reset_password": "20/m/ip,3/10m/key", "manage_email": "5/10m/user"}
PASSWORD_RESET_TIMEOUT = 3600
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_USER_VERIFICATION = "preferred"
# Browsers offer passkeys over HTTPS, and over HTTP on their own machine.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_TOTP_ISSUER = "Wattline"
# Clocks differ: the code before and the one after the current one are taken as well, each once.
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODE_DIGITS = 10
# A login page asks for the options of a passkey once; many people may share one address.
MFA_RATE_LIMITS = {"webauthn_login": "120/m/ip"}
MFA_FORMS = {
    "authenticate": "portal.account.forms_factors.CodeForm",
    "authenticate_webauthn": "portal.account.forms_factors.SecondFactorPasskeyForm",
    "reauthenticate_webauthn": "portal.account.forms_factors.ReauthenticationPasskeyForm",
    "reauthenticate": "portal.account.forms_factors.ReauthenticationCodeForm",
    "activate_totp": "portal.account.forms_factors.ActivateAppForm",
    "add_webauthn": "portal.account.forms_factors.AddPasskeyForm",
    "edit_webauthn": "portal.account.forms_factors.RenamePasskeyForm",
}
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
# Company logins: whom to ask for TXT records (`address` or `address:port`; empty: as the system
# does), and whether providers may lie in our own network.
DNS_RESOLVER = env.text("WATTLINE_DNS_RESOLVER", "")
PRIVATE_ISSUERS = env.flag("WATTLINE_PRIVATE_ISSUERS", default=False)
# The keys that secrets in the database are sealed with (tenants/sealing.py); all processes share
# the folder, and it belongs into the backup.
SEALING_KEYS_DIR = Path(env.text("SEALING_KEYS_DIR", str(HOME / "sealing")))

# --- E-mail: portal/mail.py ---

# smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465; without it messages
# become files.
MAIL_DIR = HOME / "mail"
_EMAIL = env.mail_server("EMAIL_URL")
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend" if _EMAIL else "portal.mail.FolderBackend"
)
EMAIL_HOST = _EMAIL.host if _EMAIL else ""
EMAIL_PORT = _EMAIL.port if _EMAIL else 0
EMAIL_HOST_USER = _EMAIL.user if _EMAIL else ""
EMAIL_HOST_PASSWORD = _EMAIL.password if _EMAIL else ""
EMAIL_USE_SSL = bool(_EMAIL and _EMAIL.tls_from_the_start)
EMAIL_USE_TLS = bool(_EMAIL and not _EMAIL.tls_from_the_start)
EMAIL_TIMEOUT = 20

# --- OAuth2 and OpenID Connect: docs/sign-on.md ---

# The address that people and applications know this installation by; it is the issuer of tokens.
PUBLIC_URL = env.text(
    "WATTLINE_URL",
    f"http://localhost:{env.integer('WATTLINE_PORT', 8000, minimum=1, maximum=65535)}",
).rstrip("/")
DEFAULT_FROM_EMAIL = env.text(
    "WATTLINE_MAIL_FROM", f"Wattline <no-reply@{urlsplit(PUBLIC_URL).hostname or 'localhost'}>"
)
# The keys that sign ID tokens; all web and worker processes of an installation share this folder.
OIDC_KEYS_DIR = Path(env.text("OIDC_KEYS_DIR", str(HOME / "oidc")))

ACCESS_TOKEN_S = 600
AUTHORIZATION_CODE_S = 60
# After so long without use the user is asked to sign in again.
REFRESH_TOKEN_S = 30 * 86_400

OAUTH2_PROVIDER_APPLICATION_MODEL = "tenants.Application"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "tenants.AccessToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "tenants.RefreshToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "tenants.IDToken"  # noqa: S105 - a model
OAUTH2_PROVIDER_GRANT_MODEL = "tenants.Grant"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "tenants.DeviceGrant"
# All models of the toolkit are replaced, so that it has no table and nothing to migrate.
MIGRATION_MODULES = {"oauth2_provider": None}
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "tenants.domain.oauth_validator.Validator",
    "SCOPES_BACKEND_CLASS": "tenants.domain.oauth_validator.ApplicationScopes",
    "SCOPES": {name: str(name) for name in ACCESS_SCOPES},
    # The validator itself finds the user of a device code.
    "OAUTH_PRE_TOKEN_VALIDATION": [],
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": PUBLIC_URL,
    "CLIENT_SECRET_HASHER": "secret_sha256",
    "PKCE_REQUIRED": True,
    "ACCESS_TOKEN_EXPIRE_SECONDS": ACCESS_TOKEN_S,
    "ID_TOKEN_EXPIRE_SECONDS": ACCESS_TOKEN_S,
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": AUTHORIZATION_CODE_S,
    "REFRESH_TOKEN_EXPIRE_SECONDS": REFRESH_TOKEN_S,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    # For views of the toolkit that are not served; tenants/models/uris.py is what counts.
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}

STATIC_URL = "static/"
STATIC_ROOT = HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
_BUCKET = env.bucket("FIRMWARE_STORE_URL")
_BILLS = env.bucket("BILLS_STORE_URL")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.staticfiles.ManifestStorage"},
    "firmware": places.in_bucket(**_BUCKET) if _BUCKET else places.in_folder(HOME / "firmware"),
    "bills": places.in_bucket(**_BILLS) if _BILLS else places.in_folder(HOME / "bills"),
}
# Of an image; 4 GB is what the device protocol can tell.
FIRMWARE_MAX_BYTES = 1_000_000 * env.integer(
    "WATTLINE_FIRMWARE_MAX_MB", 256, minimum=1, maximum=4_000
)

SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = HTTPS
# With the prefix a browser takes the cookie over HTTPS from this very host alone, so that no
# neighbour under the same domain can plant one.
_COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}wattline_session"
# The consumer view is an application of its own, with a session of its own (docs/sign-on.md).
HOME_COOKIE_NAME = f"{_COOKIE_PREFIX}wattline_home"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
# Devices are refused over plain HTTP: a redirect would have them show their token twice.
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^[^/]+/controller/v1/"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# The REST API (`portal/api/`). A view that declares no access refuses everybody.
API_REQUESTS_PER_MINUTE = env.integer(
    "WATTLINE_API_REQUESTS_PER_MINUTE", 600, minimum=1, maximum=10_000_000
)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.api.authentication.AccessToken",
        "portal.api.authentication.BrowserSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["portal.api.access.DeclaredAccess"],
    "DEFAULT_THROTTLE_CLASSES": ["portal.api.throttling.MinuteThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "portal.api.schema.DeclaredSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "portal.api.problems.handle",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Wattline",
    "VERSION": "1",
    "DESCRIPTION": "Facilities, devices, channels and their latest values. See docs/api.md.",
    "OAS_VERSION": "3.1.0",
    "ENUM_NAME_OVERRIDES": {
        "CorrectionKindEnum": "devices.models.correction.Kind",
        "ExportResolutionEnum": "devices.models.data_export.ExportResolution",
        "CustomerKindEnum": "billing.models.account.CustomerKind",
        "AgreementModeEnum": "billing.models.account.Mode",
        "BillKindEnum": "billing.models.bill.BillKind",
        "BillStateEnum": "billing.models.bill.BillState",
        "BillFileKindEnum": "billing.models.document.FileKind",
        "RunKindEnum": "billing.models.bill.RunKind",
        "BillLineKindEnum": "portal.api.billing_bills_shapes.LINE_KINDS",
        "RunStateEnum": "billing.models.bill.RunState",
        "ItemStateEnum": "billing.models.bill.ItemState",
        "EntryKindEnum": "billing.models.ledger.EntryKind",
        "TariffVersionStateEnum": "billing.models.tariff.VersionState",
        "DunningKindEnum": "billing.models.dunning.DunningKind",
        "PlanStateEnum": "billing.models.dunning.PlanState",
        "TokenKindEnum": "billing.models.payg.TokenKind",
        "TokenRequestStateEnum": "billing.models.payg.TokenRequestState",
        "TokenDeliveryEnum": "billing.models.payg.Delivery",
        "MovementKindEnum": "billing.models.wallet.MovementKind",
        "WalletStateEnum": "billing.models.wallet.WalletState",
        "RestatementStateEnum": "billing.models.restatement.RestatementState",
        "DeliveryStateEnum": "billing.models.document.DeliveryState",
    },
    "PREPROCESSING_HOOKS": ["portal.api.schema.api_alone"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.schema.describe_security",
    ],
}

# All roll-outs together: downloads at once, and bytes per second granted to them (0: no limit).
FIRMWARE_MAX_DOWNLOADS = (
    env.integer("WATTLINE_FIRMWARE_MAX_DOWNLOADS", 2000, minimum=0, maximum=1_000_000) or None
)
FIRMWARE_BYTES_PER_S = (
    env.integer("WATTLINE_FIRMWARE_BYTES_PER_S", 0, minimum=0, maximum=12_500_000_000) or None
)

BRIDGE_PORT = env.integer("WATTLINE_BRIDGE_PORT", 8883, minimum=1, maximum=65535)
WEB_PORT = env.integer("WATTLINE_PORT", 8000, minimum=1, maximum=65535)
TLS_DIR = HOME / "tls"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "links": {"()": "portal.logs.LinksHidden"},
        "refused": {"()": "portal.logs.RefusedInOneLine"},
    },
    "loggers": {
        "django.request": {"filters": ["links", "refused"]},
        "django.security.csrf": {"filters": ["links"]},
        # It tells each process that imports it how many threads it has.
        "numexpr": {"level": "WARNING"},
    },
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO")},
}
