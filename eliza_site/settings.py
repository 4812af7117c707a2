"""All settings; the only reader of the environment.

A value comes from the process' environment, else from `.env`, else from `.run/fleet.env`, which `make run`
writes for the commands that run beside its fleet, else from the default in the block below.
"""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from eliza_site.celery_settings import *  # noqa: F403
from eliza_site.environment import (
    SQLITE_ENGINE,
    SQLITE_IN_MEMORY,
    Environment,
    check_broker_url,
    check_redis_url,
    read_database_url,
    session_options,
)

BASE_DIR = Path(__file__).resolve().parent.parent
SQLITE_THREADS = 8

env = Environment(
    RUN_DIR=(str, str(BASE_DIR / ".run")),
    EPHEMERAL=(bool, False),
    DEBUG=(bool, False),
    SECRET_KEY=(str, ""),
    FIELD_ENCRYPTION_KEY=(list, []),
    HOST=(str, "127.0.0.1"),
    PORT=(int, 8000),
    FLOWER_PORT=(int, 5555),
    FLOWER_BASIC_AUTH=(str, ""),
    MODEL_PORT=(int, 8001),
    ALLOWED_HOSTS=(list, ["localhost", "127.0.0.1", "[::1]"]),
    CSRF_TRUSTED_ORIGINS=(list, []),
    BEHIND_TLS_PROXY=(bool, False),
    DATABASE_URL=(str, ""),
    DATABASE_POOL_SIZE=(int, 16),
    DATABASE_STATEMENT_TIMEOUT_SECONDS=(int, 15),
    DATABASE_PREPARED_STATEMENTS=(bool, True),
    DATABASE_HEALTH_CHECKS=(bool, False),
    ROW_LEVEL_SECURITY=(bool, True),
    REDIS_URL=(str, ""),
    REDIS_SSL_CERT_REQS=(str, "required"),
    CELERY_BROKER_URL=(str, ""),
    CACHE_NEAR_ENTRIES=(int, 10_000),
    CACHE_NEAR_MB=(int, 32),
    CACHE_NEAR_SECONDS=(float, 60.0),
    CACHE_STALE_SECONDS=(float, 2.0),
    WEB_THREADS=(int, 12),
    WORKER_PROCESSES=(int, 2),
    WORKER_THREADS=(int, 112),
    LOG_LEVEL=(str, "info"),
    LOG_FORMAT=(str, "console"),
    METRICS_TOKEN=(str, ""),
    WORKER_METRICS_PORT=(int, 0),
    PROMETHEUS_MULTIPROC_DIR=(str, ""),
    OPENAI_API_KEY=(str, ""),
    OPENAI_BASE_URL=(str, ""),
    MODEL_SMALL=(str, ""),
    MODEL_LARGE=(str, ""),
    MODEL_TIMEOUT_SECONDS=(float, 90.0),
    MODEL_CONNECT_TIMEOUT_SECONDS=(float, 5.0),
    MODEL_MAX_TOKENS=(int, 512),
    MODEL_CONCURRENCY=(int, 256),
    LOCAL_MODEL_BASE_URL=(str, ""),
    EMBEDDING_BASE_URL=(str, ""),
    EMBEDDING_API_KEY=(str, ""),
    EMBEDDING_MODEL=(str, ""),
    EMBEDDING_DIMENSIONS=(int, 0),
    EMBEDDING_TIMEOUT_SECONDS=(float, 30.0),
    LANE_LEASE_SECONDS=(float, 20.0),
    DISPATCH_PERIOD_SECONDS=(float, 5.0),
    TURN_MAX_ATTEMPTS=(int, 3),
    TURN_MAX_CRASHES=(int, 3),
    APPROVAL_EXPIRES_AFTER_SECONDS=(int, 600),
    DELIVERY_LEASE_SECONDS=(float, 30.0),
    SUSPECT_PROCESSES=(int, 4),
    SUSPECT_MEMORY_MB=(int, 1024),
    SHUTDOWN_GRACE_SECONDS=(float, 12.0),
    DELIVERY_MAX_ATTEMPTS=(int, 5),
    EVALUATION_LEASE_SECONDS=(float, 30.0),
    DELIVERY_EXPIRES_AFTER_SECONDS=(int, 3600),
    PERSON_MESSAGES_PER_MINUTE=(int, 60),
    MESSAGE_MAX_CHARACTERS=(int, 20_000),
    PROMPT_MAX_TOKENS=(int, 3000),
    RECENT_MESSAGES=(int, 16),
    RECALL_LIMIT=(int, 6),
    DOCUMENT_MAX_MEGABYTES=(int, 25),
    DOCUMENT_MAX_PAGES=(int, 3000),
    DOCUMENT_READ_SECONDS=(int, 120),
    DOCUMENT_CHUNK_TOKENS=(int, 200),
    DOCUMENT_OVERLAP_TOKENS=(int, 30),
    REFLECT_AFTER_MESSAGES=(int, 8),
    CONVERSATION_PAUSE_SECONDS=(float, 600.0),
    EPISODE_MESSAGES=(int, 40),
    ELIZA_PLUGINS=(list, []),
    CRASHPOINTS=(str, ""),
)
Environment.read_env(BASE_DIR / ".env")
RUN_DIR = Path(env("RUN_DIR"))
# What was set before fleet.env speaks: the embedded servers stand in for what is missing here.
GIVEN = frozenset(name for name, value in env.ENVIRON.items() if value)
EPHEMERAL = env("EPHEMERAL")
if not EPHEMERAL:
    Environment.read_env(RUN_DIR / "fleet.env")
if "DATABASE_URL" not in GIVEN and "eliza_site.fleet" in sys.orig_argv:
    # A fleet that starts has a database of its own: the address that stands there is of the one before.
    os.environ.pop("DATABASE_URL", None)

# Django -----------------------------------------------------------------------------------------------------

DEBUG = env("DEBUG")
SECRET_KEY = env("SECRET_KEY")
FIELD_ENCRYPTION_KEY = env("FIELD_ENCRYPTION_KEY")
HOST = env("HOST")
PORT = env("PORT")
ALLOWED_HOSTS = env("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS")
ROOT_URLCONF = "eliza_site.urls"
ASGI_APPLICATION = "eliza_site.asgi.application"
WSGI_APPLICATION = "eliza_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Where nothing was collected yet, the files are served from where they lie.
WHITENOISE_USE_FINDERS = not STATIC_ROOT.is_dir()

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",
    "eliza_site",
    "plugins",
    "memory",
    "agents",
    "transports",
]

MIDDLEWARE = [
    "eliza_site.logs.correlate",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASE_STATEMENT_TIMEOUT_SECONDS = env("DATABASE_STATEMENT_TIMEOUT_SECONDS")
DATABASE = read_database_url(env("DATABASE_URL") or "postgres://localhost/eliza")
IS_SQLITE = DATABASE["ENGINE"] == SQLITE_ENGINE
if EPHEMERAL and DATABASE["NAME"] != SQLITE_IN_MEMORY:
    # Wake-ups and cache would stay in each process, and others never hear of them.
    raise ImproperlyConfigured("EPHEMERAL is what `talk --ephemeral` sets for itself: unset it.")
if not IS_SQLITE:
    DATABASE["OPTIONS"] = session_options(
        DATABASE.get("OPTIONS", {}),
        statement_timeout_seconds=DATABASE_STATEMENT_TIMEOUT_SECONDS,
        prepares_statements=env("DATABASE_PREPARED_STATEMENTS"),
    )
    if env("DATABASE_POOL_SIZE"):
        DATABASE["OPTIONS"]["pool"] = {"min_size": 1, "max_size": env("DATABASE_POOL_SIZE"), "timeout": 10}
        # A worker's turn that meets a connection which was cut is worked again; a page's request is an error.
        DATABASE["CONN_HEALTH_CHECKS"] = env("DATABASE_HEALTH_CHECKS")
DATABASES = {"default": DATABASE}
ROW_LEVEL_SECURITY = env("ROW_LEVEL_SECURITY")


def with_certificate_choice(url: str) -> str:
    """Say in a `rediss://` address how its server's certificate is checked; every client reads it there."""
    if not url.startswith("rediss://") or "ssl_cert_reqs=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs={env('REDIS_SSL_CERT_REQS')}"


REDIS_URL = with_certificate_choice(check_redis_url(env("REDIS_URL")) or "redis://localhost:6379/0")
CACHES = {
    "default": {
        "BACKEND": "eliza_site.cache.TwoLevelCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "NEAR_ENTRIES": env("CACHE_NEAR_ENTRIES"),
            "NEAR_BYTES": env("CACHE_NEAR_MB") * 1024 * 1024,
            "NEAR_SECONDS": env("CACHE_NEAR_SECONDS"),
            "STALE_SECONDS": env("CACHE_STALE_SECONDS"),
        },
    }
}
if EPHEMERAL:
    CACHES = {"default": {"BACKEND": "eliza_site.cache.OneProcessCache"}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

UNFOLD = {
    "SITE_TITLE": "Eliza",
    "SITE_HEADER": "Eliza",
    "SITE_SUBHEADER": "Characters at work",
    "SITE_SYMBOL": "psychology",
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": ["eliza_site.admin_menu.stylesheet"],
    "SIDEBAR": {"navigation": "eliza_site.admin_menu.navigation"},
}

BEHIND_TLS_PROXY = env("BEHIND_TLS_PROXY")
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]

LOG_LEVEL = env("LOG_LEVEL")
LOGGING_CONFIG = "eliza_site.logs.configure"
LOGGING = {"level": LOG_LEVEL, "format": env("LOG_FORMAT")}

METRICS_TOKEN = env("METRICS_TOKEN")
WORKER_METRICS_PORT = env("WORKER_METRICS_PORT")
# prometheus_client itself reads this one from the environment.
PROMETHEUS_MULTIPROC_DIR = env("PROMETHEUS_MULTIPROC_DIR")

# Celery -----------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = with_certificate_choice(check_broker_url(env("CELERY_BROKER_URL"))) or REDIS_URL
# One server is both: it fails as one, it is left alone as one, and its memory must not throw keys away.
BROKER_IS_CACHE = CELERY_BROKER_URL == REDIS_URL
if CELERY_BROKER_URL.startswith("unix://"):
    # Celery's words for a unix socket differ from redis-py's.
    CELERY_BROKER_URL = CELERY_BROKER_URL.replace("unix://", "redis+socket://", 1).replace(
        "?db=", "?virtual_host="
    )
# Celery itself prefers the variable CELERY_BROKER_URL to the setting, and would pass over what was just made
# of it (a certificate would not be checked); these two it takes from here.
CELERY_BROKER_READ_URL = CELERY_BROKER_WRITE_URL = CELERY_BROKER_URL
BROKER_IS_REDIS = CELERY_BROKER_URL.startswith("redis")
# After a lost connection kombu's count begins anew while the threads are still busy; this counts those, too.
# Celery has it for Redis alone, and would warn of it elsewhere.
CELERY_WORKER_DISABLE_PREFETCH = BROKER_IS_REDIS
if BROKER_IS_REDIS:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        # A task is drained for 120 s and one turn more; kombu hands it out again after this, which is harmless.
        "visibility_timeout": 900,
        # Looking for those takes kombu's defaults 100 s; this takes 5.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A black hole is noticed in seconds. Waiting for a task is bounded by kombu itself, below this.
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }

# Models -----------------------------------------------------------------------------------------------------

OPENAI_API_KEY = env("OPENAI_API_KEY")
OPENAI_BASE_URL = env("OPENAI_BASE_URL")
LOCAL_MODEL_BASE_URL = env("LOCAL_MODEL_BASE_URL")
MODEL_PORT = env("MODEL_PORT")
MODEL_SMALL = env("MODEL_SMALL")
MODEL_LARGE = env("MODEL_LARGE")
MODEL_TIMEOUT_SECONDS = env("MODEL_TIMEOUT_SECONDS")
MODEL_CONNECT_TIMEOUT_SECONDS = env("MODEL_CONNECT_TIMEOUT_SECONDS")
WITH_LOCAL_MODEL = not OPENAI_API_KEY and not OPENAI_BASE_URL
# The local model rambles up to its limit, and every token costs this machine's own processor.
MODEL_MAX_TOKENS = 120 if WITH_LOCAL_MODEL and "MODEL_MAX_TOKENS" not in GIVEN else env("MODEL_MAX_TOKENS")
MODEL_CONCURRENCY = env("MODEL_CONCURRENCY")
EMBEDDING_BASE_URL = env("EMBEDDING_BASE_URL")
EMBEDDING_API_KEY = env("EMBEDDING_API_KEY")
EMBEDDING_MODEL = env("EMBEDDING_MODEL")
EMBEDDING_DIMENSIONS = env("EMBEDDING_DIMENSIONS")
EMBEDDING_TIMEOUT_SECONDS = env("EMBEDDING_TIMEOUT_SECONDS")

# The fleet --------------------------------------------------------------------------------------------------

WEB_THREADS = env("WEB_THREADS")
# One process at a time writes to SQLite; more of them would only wait for each other.
WORKER_PROCESSES = 1 if IS_SQLITE else env("WORKER_PROCESSES")
WORKER_THREADS = min(env("WORKER_THREADS"), SQLITE_THREADS) if IS_SQLITE else env("WORKER_THREADS")
FLOWER_PORT = env("FLOWER_PORT")
FLOWER_BASIC_AUTH = env("FLOWER_BASIC_AUTH")
LANE_LEASE_SECONDS = env("LANE_LEASE_SECONDS")
DISPATCH_PERIOD_SECONDS = env("DISPATCH_PERIOD_SECONDS")
TURN_MAX_ATTEMPTS = env("TURN_MAX_ATTEMPTS")
TURN_MAX_CRASHES = env("TURN_MAX_CRASHES")
APPROVAL_EXPIRES_AFTER_SECONDS = env("APPROVAL_EXPIRES_AFTER_SECONDS")
DELIVERY_LEASE_SECONDS = env("DELIVERY_LEASE_SECONDS")
SUSPECT_PROCESSES = env("SUSPECT_PROCESSES")
SUSPECT_MEMORY_MB = env("SUSPECT_MEMORY_MB")
SHUTDOWN_GRACE_SECONDS = env("SHUTDOWN_GRACE_SECONDS")
DELIVERY_MAX_ATTEMPTS = env("DELIVERY_MAX_ATTEMPTS")
EVALUATION_LEASE_SECONDS = env("EVALUATION_LEASE_SECONDS")
DELIVERY_EXPIRES_AFTER_SECONDS = env("DELIVERY_EXPIRES_AFTER_SECONDS")
PERSON_MESSAGES_PER_MINUTE = env("PERSON_MESSAGES_PER_MINUTE")
MESSAGE_MAX_CHARACTERS = env("MESSAGE_MAX_CHARACTERS")
PROMPT_MAX_TOKENS = env("PROMPT_MAX_TOKENS")
RECENT_MESSAGES = env("RECENT_MESSAGES")
RECALL_LIMIT = env("RECALL_LIMIT")
DOCUMENT_MAX_MEGABYTES = env("DOCUMENT_MAX_MEGABYTES")
DOCUMENT_MAX_PAGES = env("DOCUMENT_MAX_PAGES")
DOCUMENT_READ_SECONDS = env("DOCUMENT_READ_SECONDS")
DOCUMENT_CHUNK_TOKENS = env("DOCUMENT_CHUNK_TOKENS")
DOCUMENT_OVERLAP_TOKENS = env("DOCUMENT_OVERLAP_TOKENS")
REFLECT_AFTER_MESSAGES = env("REFLECT_AFTER_MESSAGES")
CONVERSATION_PAUSE_SECONDS = env("CONVERSATION_PAUSE_SECONDS")
EPISODE_MESSAGES = env("EPISODE_MESSAGES")
PLUGINS = env("ELIZA_PLUGINS")

# Tests ------------------------------------------------------------------------------------------------------

CRASHPOINTS = env("CRASHPOINTS")
