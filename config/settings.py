"""Every setting, read top to bottom. The environment enters here and nowhere else."""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.templatetags.static import static
from django.urls import reverse_lazy

from config.embedded import addresses

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
VERSION: str = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]

env = environ.FileAwareEnv()  # NAME_FILE holds the secret NAME (Docker, Kubernetes)
if os.environ.get("ENVIRONMENT") != "test":
    environ.Env.read_env(BASE_DIR / ".env")


# --- Environment --------------------------------------------------------------------------------------------------

ENVIRONMENT = env.str("ENVIRONMENT", default="development")
if ENVIRONMENT not in ("development", "test", "production"):
    raise RuntimeError(f"ENVIRONMENT is {ENVIRONMENT!r}; set it to development, test or production.")
PRODUCTION = ENVIRONMENT == "production"
DEBUG = env.bool("DEBUG", default=ENVIRONMENT == "development")

# Outside production the missing secrets are made once per checkout and kept in var/, so none lies in the tree.
_made = {} if PRODUCTION else addresses.development_secrets(BASE_DIR)


def secret(name: str) -> str:
    """A secret from the environment, or outside production the checkout's own; empty where there is none."""
    return env.str(name, default="") or _made.get(name, "")


SECRET_KEY = secret("SECRET_KEY") or "missing"  # core.boot refuses to start with it
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
WEB_THREADS = env.int("WEB_THREADS", default=8)  # of each web process; each keeps a database connection
SANDBOX_PORT = env.int("SANDBOX_PORT", default=8001)
SANDBOX_SMTP_PORT = env.int("SANDBOX_SMTP_PORT", default=SANDBOX_PORT + 1)
SANDBOX_ENABLED = env.bool("SANDBOX_ENABLED", default=not PRODUCTION)
SANDBOX_URL = f"http://127.0.0.1:{SANDBOX_PORT}"

PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}").rstrip("/")
FRONTEND_URL = env.str("FRONTEND_URL", default="").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"])
ALLOWED_ORIGINS = env.list("ALLOWED_ORIGINS", default=[] if PRODUCTION else ["http://localhost:5173"])
if SANDBOX_ENABLED:  # the studio, which comes back from checkouts as any client does
    ALLOWED_ORIGINS.append("{0.scheme}://{0.netloc}".format(urlsplit(PUBLIC_URL)))
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", default="support@example.test")


# --- Django -------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "accounts.apps.ConsoleConfig",
    "accounts",  # before Django's, whose `changepassword` it replaces
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "anymail",
    "corsheaders",
    "django_filters",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
    "rest_framework",
    "core",
    "audit",
    "inbox",
    "notifications",
    "billing",
    "wearables",
    "generation",
    "calls",
    "store",
    "dashboard",
    "config",
]
MIDDLEWARE = [
    "core.middleware.RequestMiddleware",
    "core.csp.Middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "core.middleware.SessionMiddleware",
    "core.middleware.CommonMiddleware",
    "core.middleware.CsrfViewMiddleware",
    "core.middleware.AuthenticationMiddleware",
    "core.middleware.MessageMiddleware",
    "core.middleware.ZoneMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True
# English, and whatever has a compiled catalogue in locale/. Mails use it; the API and the console speak English.
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = [("en", "English")]
LANGUAGES += [
    (p.parts[-3].replace("_", "-").lower(),) * 2 for p in sorted(LOCALE_PATHS[0].glob("*/LC_MESSAGES/django.mo"))
]
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "core.storage.folder.Folder"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
if not PRODUCTION:
    STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    WHITENOISE_USE_FINDERS = True
    WHITENOISE_AUTOREFRESH = False


# --- PostgreSQL and Redis -----------------------------------------------------------------------------------------

EXTERNAL_SERVERS = [name for name in ("DATABASE_URL", "REDIS_URL") if env.str(name, default="")]  # else embedded
DATABASE_URL = env.str("DATABASE_URL", default="") or addresses.database_url(BASE_DIR)
# Whom web and workers connect as, for `install` and `restore`, whose own DATABASE_URL is then the tables' owner's.
APP_DATABASE_URL = env.str("APP_DATABASE_URL", default="")
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"] |= {
    "ENGINE": "core.postgres",
    "HOST": unquote(DATABASES["default"]["HOST"]),  # a socket's folder comes percent-encoded
    "ATOMIC_REQUESTS": False,
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "DISABLE_SERVER_SIDE_CURSORS": True,  # PgBouncer in transaction mode
}
# The hottest statements (core.sql) are prepared; Django prepares none. False behind a PgBouncer older than 1.21.
DATABASE_PREPARE = env.bool("DATABASE_PREPARE", default=True)
DATABASES["default"].setdefault("OPTIONS", {}).update(
    {"connect_timeout": 5, "prepare_threshold": 5 if DATABASE_PREPARE else None}
)
REDIS_URL = env.str("REDIS_URL", default="") or addresses.redis_url(BASE_DIR)

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "atelier",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    },
    "ratelimit": {"BACKEND": "core.ratelimit.Counters", "KEY_PREFIX": "atelier:limit"},
}
RATELIMIT_USE_CACHE = "ratelimit"


# --- Celery: messages say that work is due, the work itself is in the tables ----------------------------------------

BROKER_URL = env.str("BROKER_URL", default="")  # a RabbitMQ for the messages; empty: Redis carries them, too
CELERY_BROKER_URL = BROKER_URL or addresses.broker_url(REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "socket_timeout": 10,
    "socket_connect_timeout": 1,
    "global_keyprefix": "atelier:",
}
CELERY_TASK_ACKS_LATE = True
if BROKER_URL:
    # Whoever sends tries once: with kombu's usual patience a request would wait for a broker that is away.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 0, "write_timeout": 1}
    CELERY_BROKER_CONNECTION_TIMEOUT = 1
    CELERY_BROKER_USE_SSL = {"server_hostname": None} if BROKER_URL.startswith("amqps:") else False  # None: the URL's
    # It closes the channel of a message that is not acknowledged within half an hour; a 3D model takes longer. What a
    # dead worker had begun is found in the tables.
    CELERY_TASK_ACKS_LATE = False
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # its transient queues are no longer allowed by newer ones
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = ["core.jobs.route"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_DB_REUSE_MAX = 100_000  # else Celery opens a new database connection for every task
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "config.celery:Scheduler"
# Each queue is woken this often even if every message is lost. The work decides by its own due times.
WAKE_EVERY_S: dict[str, float] = {
    "inbox.handle": 30,
    "core.purge": 3600,
    "core.remove_files": 60,
    "core.fold_tallies": 60,
    "notifications.deliver": 10,
    "notifications.purge": 3600,
    "accounts.mail_resets": 10,
    "accounts.purge": 3600,
    "accounts.erase": 30,
    "accounts.export": 30,
    "inbox.purge": 86_400,
    "audit.expire_approvals": 300,
    "audit.seal": 600,
    "audit.verify": 600,
    "audit.extract": 60,
    "generation.advance": 5,
    "generation.advance_sync": 5,
    "generation.advance_bulk": 15,
    "generation.sweep": 15,
    "calls.tend": 5,
    "calls.tend_rooms": 15,
    "billing.poll_payments": 5,
    "billing.send_refunds": 15,
    "billing.walk_gateways": 300,
    "billing.poll_subscriptions": 30,
    "billing.tend_subscriptions": 600,
    "billing.expire_credits": 60,
    "billing.check_books": 300,
    "store.give_up_orders": 15,
}
WAKE_EVERY_S |= {name: float(s) for name, s in (p.split("=") for p in env.list("WAKE_EVERY_S", default=[]))}


# --- Dotted paths by which a lower app reaches a higher one ----------------------------------------------------------

INBOX_HANDLERS: dict[str, dict[str, str]] = {
    "razorpay": {
        "verify": "billing.gateways.razorpay.verify_webhook",
        "handle": "billing.webhooks.razorpay.handle",
    },
    "stripe": {
        "verify": "billing.gateways.stripe.verify_webhook",
        "handle": "billing.webhooks.stripe.handle",
    },
    "monnify": {
        "verify": "billing.gateways.monnify.verify_webhook",
        "handle": "billing.webhooks.monnify.handle",
    },
    "magic-hour": {
        "verify": "generation.providers.magic_hour.verify_webhook",
        "handle": "generation.webhooks.handle_magic_hour",
    },
    "kie": {
        "verify": "generation.providers.kie.verify_webhook",
        "handle": "generation.webhooks.handle_kie",
    },
    "livekit": {
        "verify": "calls.livekit.verify_webhook",
        "handle": "calls.webhooks.handle",
    },
    "email": {
        "verify": "notifications.sender.verify_webhook",
        "handle": "notifications.webhooks.handle",
    },
}
USER_REGISTERED = ["billing.ledger.open_wallets"]
EMAIL_VERIFIED = ["billing.grants.sign_up"]
ACCOUNT_EXPORT = [
    "accounts.telling.export",
    "billing.telling.export",
    "wearables.telling.export",
    "generation.telling.export",
    "calls.telling.export",
    "store.telling.export",
]
ACCOUNT_STATISTICS = ["generation.statistics.of", "billing.statistics.of"]
# In this order, until none answers with something still open.
ACCOUNT_ERASED = [
    "generation.leaving.erase",
    "calls.leaving.erase",
    "store.leaving.erase",
    "wearables.leaving.erase",
    "billing.leaving.erase",
]
MAIL_SECRETS = {  # made at rendering, never stored
    "verify-email": "accounts.verification.mail_secrets",
    "confirm-email": "accounts.email_changes.mail_secrets",
    "password-reset": "accounts.resets.mail_secrets",
    "order-confirmed": "store.telling.mail_secrets",
}
STORE_MODELS = "generation.outputs.model_file"  # the file that a product shows of a 3D job
BILLING_QUOTES = {"order": "store.goods.quote"}  # an item's first word: what prices it, where that is a higher app's
BILLING_FULFILMENT = {
    "credits": "billing.fulfilment.credits",
    "top_up": "billing.fulfilment.top_up",
    "subscription": "billing.subscriptions.deliver",
    "order": "store.goods.deliver",
}
# What approvals can set off → the permission that its requester and its approver need.
APPROVAL_ACTS = {
    "billing.staff_grants.carry_out": "billing.give_staffgrant",
    "billing.staff_offers.carry_out": "billing.reprice_package",
    "billing.staff_prices.carry_out": "billing.reprice_package",
    "billing.staff_refunds.carry_out": "billing.refund_payment",
    "billing.staff_refunds.carry_out_waiver": "billing.waive_debt",
    "generation.staff_prices.carry_out": "billing.reprice_package",
}
APPROVAL_REHEARSAL = "billing.rehearsal.of_approval"  # what an approver is shown before
BOOK_CHECKS = [
    "billing.books.audit.checks",
    "generation.books.checks",
    "calls.books.checks",
    "store.books.checks",
]
METRICS_SOURCES = [
    "audit.metrics.families",
    "inbox.metrics.families",
    "notifications.metrics.families",
    "billing.metrics.families",
    "billing.books.metrics.families",
    "generation.metrics.families",
    "calls.metrics.families",
    "store.metrics.families",
]
HEALTH_SOURCES: list[str] = []


# --- Accounts -----------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
PASSWORD_HASHERS = ["accounts.hashers.Argon2id"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "accounts.validators.MaximumLengthValidator"},
    {"NAME": "accounts.validators.LeakedPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
JWT_ALGORITHM = env.str("JWT_ALGORITHM", default="HS256")
JWT_SECRET = secret("JWT_SECRET")
JWT_REFRESH_SECRET = secret("JWT_REFRESH_SECRET")
ACCESS_TOKEN_MINUTES = env.int("ACCESS_TOKEN_MINUTES", default=15)
REFRESH_TOKEN_MINUTES = env.int("REFRESH_TOKEN_MINUTES", default=60)
REMEMBER_ME_MINUTES = env.int("REMEMBER_ME_MINUTES", default=43_200)
EXPORT_KEEP_DAYS = env.int("EXPORT_KEEP_DAYS", default=7)
MAILBOX_HASH_KEY = secret("MAILBOX_HASH_KEY")
MFA_REQUIRED = env.bool("MFA_REQUIRED", default=ENVIRONMENT != "development")  # of staff
OTP_TOTP_ISSUER = env.str("OTP_TOTP_ISSUER", default="Atelier")  # what an authenticator app calls us


# --- Money --------------------------------------------------------------------------------------------------------

SIGN_UP_GRANT = env.int("SIGN_UP_GRANT", default=5)
PROMO_DAILY_BUDGET = env.int("PROMO_DAILY_BUDGET", default=50_000)
PROMO_DOMAIN_DAILY_CAP = env.int("PROMO_DOMAIN_DAILY_CAP", default=5_000)
LOW_CREDIT_THRESHOLD = env.int("LOW_CREDIT_THRESHOLD", default=50)
# Beyond this, per member of staff, per customer and per day (UTC), a colleague has to approve. In minor units.
APPROVAL_LIMITS: dict[str, int] = {"CREDIT": 500, "INR": 500_000, "USD": 10_000, "NGN": 10_000_000}
APPROVAL_LIMITS |= {k: int(v) for k, v in (p.split("=") for p in env.list("APPROVAL_LIMITS", default=[]))}
SUPPORT_GRANT_LIMIT = env.int("SUPPORT_GRANT_LIMIT", default=100)  # credits a day that a member of support gives alone


# --- Store --------------------------------------------------------------------------------------------------------

ORDER_EXPIRES_S = env.int("ORDER_EXPIRES_S", default=1800)  # in which an order must be paid


# --- Providers: only base URL and key differ between the real host and the sandbox -----------------------------------


def provider_url(name: str, real: str) -> str:
    """The provider's base URL: as set, else the sandbox's where that runs, else the real host."""
    prefix = name.removesuffix("_BASE_URL").lower().replace("_", "-")
    url: str = env.str(name, default=f"{SANDBOX_URL}/{prefix}" if SANDBOX_ENABLED else real)
    return url.rstrip("/")


RAZORPAY_BASE_URL = provider_url("RAZORPAY_BASE_URL", "https://api.razorpay.com")
RAZORPAY_KEY_ID = secret("RAZORPAY_KEY_ID")
RAZORPAY_KEY_SECRET = secret("RAZORPAY_KEY_SECRET")
RAZORPAY_WEBHOOK_SECRET = secret("RAZORPAY_WEBHOOK_SECRET")
STRIPE_BASE_URL = provider_url("STRIPE_BASE_URL", "https://api.stripe.com")
STRIPE_SECRET_KEY = secret("STRIPE_SECRET_KEY")
STRIPE_PUBLISHABLE_KEY = secret("STRIPE_PUBLISHABLE_KEY")
STRIPE_WEBHOOK_SECRET = secret("STRIPE_WEBHOOK_SECRET")
MONNIFY_BASE_URL = provider_url("MONNIFY_BASE_URL", "https://api.monnify.com")
MONNIFY_API_KEY = secret("MONNIFY_API_KEY")
MONNIFY_SECRET_KEY = secret("MONNIFY_SECRET_KEY")
MONNIFY_CONTRACT_CODE = secret("MONNIFY_CONTRACT_CODE")
MONNIFY_REFUNDS = env.bool("MONNIFY_REFUNDS", default=False)  # Monnify switches its own on by request
MAGIC_HOUR_BASE_URL = provider_url("MAGIC_HOUR_BASE_URL", "https://api.magichour.ai")
MAGIC_HOUR_API_KEY = secret("MAGIC_HOUR_API_KEY")
MAGIC_HOUR_WEBHOOK_SECRET = secret("MAGIC_HOUR_WEBHOOK_SECRET")
MAGIC_HOUR_TIMEOUT_S = env.float("MAGIC_HOUR_TIMEOUT_S", default=30)  # each call; must end well before the lease
MAGIC_HOUR_RESOLVE_S = env.float("MAGIC_HOUR_RESOLVE_S", default=300)  # a callback can still name a lost submission
KIE_BASE_URL = provider_url("KIE_BASE_URL", "https://api.kie.ai")
# Files go to a host of their own; a simulator has both in one place.
_kie_uploads = "https://kieai.redpandaai.co" if KIE_BASE_URL == "https://api.kie.ai" else KIE_BASE_URL
KIE_UPLOAD_BASE_URL = env.str("KIE_UPLOAD_BASE_URL", default=_kie_uploads).rstrip("/")
KIE_API_KEY = secret("KIE_API_KEY")
KIE_WEBHOOK_SECRET = secret("KIE_WEBHOOK_SECRET")  # without one a callback is known by the token in its address
KIE_TIMEOUT_S = env.float("KIE_TIMEOUT_S", default=30)  # each call; must end well before the lease
KIE_RESOLVE_S = env.float("KIE_RESOLVE_S", default=600)  # a callback comes when the film is made, not before
XAI_BASE_URL = provider_url("XAI_BASE_URL", "https://api.x.ai")
XAI_API_KEY = secret("XAI_API_KEY")
XAI_CHAT_MODEL = env.str("XAI_CHAT_MODEL", default="grok-4.20-0309-non-reasoning")
XAI_IMAGE_MODEL = env.str("XAI_IMAGE_MODEL", default="grok-imagine-image-2.0")  # only this family knows a quality
XAI_VIDEO_MODEL = env.str("XAI_VIDEO_MODEL", default="grok-imagine-video")  # only this one extends a film
XAI_TIMEOUT_S = env.float("XAI_TIMEOUT_S", default=30)  # each call but the synchronous ones
XAI_SYNC_TIMEOUT_S = env.float("XAI_SYNC_TIMEOUT_S", default=90)  # pictures and chat; ends before the lease does

LIVEKIT_BASE_URL = provider_url("LIVEKIT_BASE_URL", "")  # each project has a host of its own; clients join there too
LIVEKIT_API_KEY = secret("LIVEKIT_API_KEY")
LIVEKIT_API_SECRET = secret("LIVEKIT_API_SECRET")  # signs what they send us, too


# --- Calls --------------------------------------------------------------------------------------------------------

CALL_RATE = env.int("CALL_RATE", default=1000)  # kobo a minute
CALL_OPENING_HOLD = env.int("CALL_OPENING_HOLD", default=1000)  # kobo, when it begins to ring
CALL_STRATEGY = env.str("CALL_STRATEGY", default="per_second")
CALL_SLICE_S = env.int("CALL_SLICE_S", default=60)  # what is paid ahead, and how long a token to join is good
CALL_RING_S = env.int("CALL_RING_S", default=60)
CALL_HEARTBEAT_S = env.float("CALL_HEARTBEAT_S", default=15)
CALL_SILENCE_S = env.float("CALL_SILENCE_S", default=45)


# --- Generation ---------------------------------------------------------------------------------------------------

# By kind, counted from the order: it then ends, whatever has happened.
GENERATION_DEADLINES_S = {
    "headshot": env.float("HEADSHOT_DEADLINE_S", default=900),
    "image": env.float("IMAGE_DEADLINE_S", default=900),
    "video": env.float("VIDEO_DEADLINE_S", default=3600),
    "avatar": env.float("AVATAR_DEADLINE_S", default=900),
    "model3d": env.float("MODEL3D_DEADLINE_S", default=21_600),
}
GENERATION_LEASE_S = env.float("GENERATION_LEASE_S", default=120)
GENERATION_POLL_MIN_S = env.float("GENERATION_POLL_MIN_S", default=5)
GENERATION_POLL_MAX_S = env.float("GENERATION_POLL_MAX_S", default=60)
GENERATION_LATE_CANCELS_PER_DAY = env.int("GENERATION_LATE_CANCELS_PER_DAY", default=5)
# provider: (calls, per seconds), polls and submissions together
PROVIDER_RATES: dict[str, tuple[int, float]] = {
    "magic-hour": (env.int("MAGIC_HOUR_CALLS_PER_10S", default=100), 10),
    "xai": (env.int("XAI_CALLS_PER_10S", default=100), 10),
    "kie": (env.int("KIE_CALLS_PER_10S", default=20), 10),
}
REMOVAL_WITHIN_S = env.int("REMOVAL_WITHIN_S", default=48 * 3600)  # in which staff decide about what was reported
ARCHIVE_MAX_BYTES = env.int("ARCHIVE_MAX_BYTES", default=2_000_000_000)  # of a zip of photos
PHOTO_MAX_BYTES = env.int("PHOTO_MAX_BYTES", default=50_000_000)
UPLOAD_URL_S = env.int("UPLOAD_URL_S", default=3600)  # what is put then is kept for a day
AVATAR_MAX_BYTES = env.int("AVATAR_MAX_BYTES", default=10_000_000)
PHOTO_MAX_PIXELS = env.int("PHOTO_MAX_PIXELS", default=80_000_000)  # measured: 0.8 GB in the decoder's own process
# 3D models are made on the machines that serve the queue `bulk`. On where the packages are installed; name it where the
# web processes run without them.
PHOTOGRAMMETRY_ENABLED = env.bool("PHOTOGRAMMETRY_ENABLED", default=find_spec("pycolmap") is not None)
PHOTOGRAMMETRY_DIR = Path(env.str("PHOTOGRAMMETRY_DIR", default=str(VAR_DIR / "photogrammetry")))
PHOTOGRAMMETRY_THREADS = env.int("PHOTOGRAMMETRY_THREADS", default=0)  # 0: as many as there are cores
PHOTOGRAMMETRY_MEMORY_BYTES = env.int("PHOTOGRAMMETRY_MEMORY_BYTES", default=8_000_000_000)  # addresses, not all used
PHOTOGRAMMETRY_FREE_BYTES = env.int("PHOTOGRAMMETRY_FREE_BYTES", default=5_000_000_000)  # with less none is begun
OUTPUT_MAX_BYTES = {
    "headshot": env.int("HEADSHOT_MAX_BYTES", default=50_000_000),
    "image": env.int("IMAGE_MAX_BYTES", default=50_000_000),
    "video": env.int("VIDEO_MAX_BYTES", default=100_000_000),
    "avatar": env.int("AVATAR_THUMBNAIL_MAX_BYTES", default=50_000_000),
    "model3d": env.int("MODEL3D_MAX_BYTES", default=500_000_000),
}


# --- Files --------------------------------------------------------------------------------------------------------

MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(VAR_DIR / "media")))
S3_BUCKET = env.str("S3_BUCKET", default="")
S3_ENDPOINT_URL = env.str("S3_ENDPOINT_URL", default="").rstrip("/")  # empty: Amazon's own
S3_REGION = env.str("S3_REGION", default="")
S3_ACCESS_KEY_ID = secret("S3_ACCESS_KEY_ID")  # with the next empty: the machine's role, at Amazon
S3_SECRET_ACCESS_KEY = secret("S3_SECRET_ACCESS_KEY")
if S3_BUCKET:
    STORAGES["default"] = {
        "BACKEND": "core.storage.bucket.Bucket",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": S3_ENDPOINT_URL or None,
            "region_name": S3_REGION or None,
            "access_key": S3_ACCESS_KEY_ID or None,
            "secret_key": S3_SECRET_ACCESS_KEY or None,
        },
    }
BACKUP_BUCKET = env.str("BACKUP_BUCKET", default="")  # at the same store; empty: where the files are
STORAGES["backups"] = STORAGES["default"]
if S3_BUCKET and BACKUP_BUCKET:
    STORAGES["backups"] = {
        **STORAGES["default"],
        "OPTIONS": STORAGES["default"]["OPTIONS"] | {"bucket_name": BACKUP_BUCKET},
    }
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20  # JSON bodies; files are streamed and capped by their own rule
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
FILE_UPLOAD_PERMISSIONS = 0o600
SIGNED_URL_S = env.int("SIGNED_URL_S", default=3600)


# --- Mail ---------------------------------------------------------------------------------------------------------

EMAIL_URL = env.str("EMAIL_URL", default=f"smtp://127.0.0.1:{SANDBOX_SMTP_PORT}" if SANDBOX_ENABLED else "")
MAIL_LANGUAGE = env.str("MAIL_LANGUAGE", default="en")  # of mails to people who told none that there is
EMAIL_SENDER = EMAIL_URL.removeprefix("anymail://") if EMAIL_URL.startswith("anymail://") else ""
if EMAIL_SENDER:
    EMAIL_BACKEND = f"anymail.backends.{EMAIL_SENDER}.EmailBackend"
elif EMAIL_URL:
    vars().update(env.email_url_config(EMAIL_URL))
else:
    EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
EMAIL_TIMEOUT = 10
EMAIL_WEBHOOK_SECRET = secret("EMAIL_WEBHOOK_SECRET")  # user:password, with which the sender calls us
# The sender's keys, as Anymail names them. What one of them cannot do (tags, say) must not keep a mail back.
ANYMAIL = {"IGNORE_UNSUPPORTED_FEATURES": True, **env.json("ANYMAIL", default={})}
ANYMAIL |= {"WEBHOOK_SECRET": EMAIL_WEBHOOK_SECRET}
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Atelier <no-reply@example.test>")


# --- Audit --------------------------------------------------------------------------------------------------------

# Rows are sealed at this age; no transaction that writes takes as long, and one that still runs is waited for.
AUDIT_SEAL_LAG_S = env.float("AUDIT_SEAL_LAG_S", default=3600)
AUDIT_VERIFY_EVERY_S = env.float("AUDIT_VERIFY_EVERY_S", default=86_400)  # 0: only when somebody asks


# --- REST API -----------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["core.api.permissions.IsVerified"],
    "DEFAULT_RENDERER_CLASSES": ["core.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "core.api.pagination.Pages",
    "DEFAULT_FILTER_BACKENDS": ["core.api.filters.StrictFilterBackend"],
    "DEFAULT_THROTTLE_CLASSES": ["core.api.throttling.Throttle"],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is the browser's preflight; what there is to know stands in the schema
    "EXCEPTION_HANDLER": "core.api.exceptions.handle",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Atelier",
    "DESCRIPTION": "The back end for products that sell AI-generated media by the credit.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": True,
    "ENUM_NAME_OVERRIDES": {
        "ErrorCode": "core.errors.codes",
        "CallState": "calls.models.State",
        "CallType": "calls.models.Type",
        "GenerationKind": "generation.models.Kind",
        "OrderState": "store.models.OrderState",
        "LedgerKind": "billing.models.LedgerTransaction.Kind",
        "SubscriptionStatusEnum": "billing.models.SubscriptionState",
        "ActivityTypeEnum": "dashboard.activity.TYPES",
    },
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.api.examples.complete",
    ],
}
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CORS_URLS_REGEX = r"^/(api|files)/"  # browsers put files to addresses of ours, too
CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "if-none-match", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    "ETag",
    "Location",
    "Retry-After",
    "X-Request-ID",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotent-Replayed",
]

# scope: (requests, per seconds, counted by). `general` applies to every API call.
RATELIMIT_ENABLE = env.bool("RATELIMIT_ENABLE", default=True)
RATE_LIMITS: dict[str, tuple[int, int, str]] = {
    "general": (100, 60, "user_or_ip"),
    "auth": (5, 60, "ip"),
    "registrations": (10, 3600, "ip"),
    "failed_logins": (10, 3600, "ip"),
    "refresh": (30, 60, "session"),
    "generation": (10, 60, "user"),
    "kie_videos": (5, 3600, "user"),
    "purchases": (10, 86_400, "user"),
    "orders": (10, 86_400, "user"),
    "sensitive": (3, 900, "user_or_ip"),
    "uploads": (10, 60, "user"),
    "calls": (20, 60, "user"),
    "completions": (10, 60, "user"),  # of uploads by address
    "returns": (10, 60, "payment"),
}
RATE_LIMITS |= {  # e.g. RATE_LIMITS=purchases=1000/86400/user,generation=100/60/user
    name: (int(n), int(s), by)
    for name, (n, s, by) in ((k, v.split("/")) for k, v in (p.split("=") for p in env.list("RATE_LIMITS", default=[])))
}
RATE_LIMITS_FAIL_CLOSED = {
    "auth",
    "registrations",
    "failed_logins",
    "refresh",
    "purchases",
    "orders",
    "sensitive",
    "generation",
    "kie_videos",
    "calls",
}
METRICS_ALLOW = env.list("METRICS_ALLOW", default=["127.0.0.0/8", "::1/128"])
METRICS_TOKEN = secret("METRICS_TOKEN")


# --- Security -----------------------------------------------------------------------------------------------------

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL.startswith("https") else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0


# --- Logs ---------------------------------------------------------------------------------------------------------

DEBUG_MODE = env.bool("DEBUG_MODE", default=False)
LOG_LEVEL = env.str("LOG_LEVEL", default="DEBUG" if DEBUG_MODE else "INFO").upper()
if LOG_LEVEL not in ("DEBUG", "INFO", "WARNING", "ERROR"):
    raise RuntimeError(f"LOG_LEVEL is {LOG_LEVEL!r}; set it to DEBUG, INFO, WARNING or ERROR.")
LOGGING_CONFIG = "core.logs.configure"
LOGGING = {
    "level": LOG_LEVEL,
    "json": env.bool("LOG_JSON", default=PRODUCTION),
    "file": env.str("LOG_FILE", default=""),
    "max_bytes": env.int("LOG_FILE_MAX_BYTES", default=20_000_000),
    "count": env.int("LOG_FILE_COUNT", default=5),
    "sentry_dsn": env.str("SENTRY_DSN", default=""),  # errors that nobody foresaw go there
    "environment": ENVIRONMENT,
}

# Under the names that OpenTelemetry gives them; its SDK reads its others from the environment by itself.
TRACING = {
    "endpoint": env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="").rstrip("/"),
    "headers": dict(
        (name.strip(), unquote(value.strip()))
        for name, _, value in (pair.partition("=") for pair in env.list("OTEL_EXPORTER_OTLP_HEADERS", default=[]))
    ),
    "service": env.str("OTEL_SERVICE_NAME", default="atelier"),
    "ratio": env.float("OTEL_TRACES_SAMPLER_ARG", default=1),
}


# --- Admin --------------------------------------------------------------------------------------------------------

LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
UNFOLD = {
    "SITE_TITLE": "Atelier",
    "SITE_HEADER": "Atelier",
    "SITE_SUBHEADER": "Ops console",
    "SITE_SYMBOL": "photo_camera",
    "SHOW_HISTORY": False,
    "DASHBOARD_CALLBACK": "dashboard.console.home.show",
    "STYLES": [lambda request: static("core/console.css")],
    "SCRIPTS": [lambda request: static("core/console.js")],
    "LOGIN": {"form": "accounts.forms.ConsoleLoginForm"},
    "ACCOUNT": {"navigation": [{"title": "Two-step sign-in", "link": reverse_lazy("admin:mfa")}]},
    "SIDEBAR": {"show_all_applications": True, "navigation": "dashboard.console.menu.navigation"},
}

KILL_POINT = env.str("KILL_POINT", default="") if ENVIRONMENT == "test" else ""
