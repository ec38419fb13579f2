"""What an operator decides when starting Userfold: read once, frozen, passed down. Nobody reads a global."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import msgspec

PRODUCT_ID_LENGTH = 30  # Milana's SDK throws unless it is `prd_` and 26 characters

Network = IPv4Network | IPv6Network

DEFAULT_DATA = "./userfold-data"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787


class SettingInvalid(Exception):
    """A setting cannot be used. The text says which and why; it never repeats a secret."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. See docs/reference/settings.md."""

    data: Path
    database: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    public_url: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    log_format: str = "text"
    access_log: bool = False
    encryption_keys: tuple[str, ...] = ()  # none: those of `encryption_key_file`
    # For the first project, when it is made.
    secret_key: str | None = None
    publishable_key: str | None = None
    product_id: str | None = None
    # For the first project, at every start.
    clerk_webhook_secret: str | None = None

    @property
    def images(self) -> Path:
        """The folder of users' pictures."""
        return self.data / "images"

    @property
    def encryption_key_file(self) -> Path:
        """Where the keys are if the environment has none: the first encrypts, all decrypt."""
        return self.data / "secret.key"


def read_settings(
    environment: Mapping[str, str],
    *,
    data: Path | None = None,
    database_url: str | None = None,
    host: str | None = None,
    port: int | None = None,
    access_log: bool = False,
) -> Settings:
    """Settings from the environment; what is given here (the command line) wins. Raises `SettingInvalid`."""
    folder = data or Path(environment.get("USERFOLD_DATA") or DEFAULT_DATA)
    return Settings(
        data=folder,
        database=_database(database_url or environment.get("USERFOLD_DATABASE_URL"), folder),
        host=host or DEFAULT_HOST,
        port=DEFAULT_PORT if port is None else port,
        public_url=_public_url(environment.get("USERFOLD_PUBLIC_URL")),
        trusted_proxies=_networks(environment, "USERFOLD_TRUSTED_PROXIES"),
        log_format=_choice(environment, "USERFOLD_LOG", ("text", "json")),
        access_log=access_log or _choice(environment, "USERFOLD_ACCESS_LOG", ("false", "true")) == "true",
        encryption_keys=_encryption_keys(environment),
        secret_key=_prefixed(environment, "USERFOLD_SECRET_KEY", "sk_"),
        publishable_key=_prefixed(environment, "USERFOLD_PUBLISHABLE_KEY", "key_"),
        product_id=_product_id(environment),
        clerk_webhook_secret=_prefixed(environment, "USERFOLD_CLERK_WEBHOOK_SECRET", "whsec_"),
    )


def variables() -> frozenset[str]:
    """The environment variables that `read_settings` looks at."""
    asked = _Asked()
    read_settings(asked)
    return frozenset(asked.names)


class _Asked(dict[str, str]):
    """An empty environment that remembers what it was asked for, so that no second list has to be kept in step."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def _database(url: str | None, folder: Path) -> Path:
    if not url:
        return folder / "userfold.db"
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        # As elsewhere: three slashes and a relative path, four and an absolute one.
        return Path(rest[1:])
    if scheme in ("postgresql", "postgres"):
        raise SettingInvalid("PostgreSQL is not built in this version; leave the database URL out to use SQLite")
    raise SettingInvalid("the database URL must be sqlite:///PATH (it is not repeated here: it may hold a password)")


def _public_url(url: str | None) -> str | None:
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise SettingInvalid("USERFOLD_PUBLIC_URL must begin with http:// or https://")
    return url.rstrip("/")


def _networks(environment: Mapping[str, str], name: str) -> tuple[Network, ...]:
    return tuple(_network(name, given.strip()) for given in (environment.get(name) or "").split(",") if given.strip())


def _network(name: str, given: str) -> Network:
    try:
        network = ip_network(given)
    except ValueError as error:
        raise SettingInvalid(f"{name} must hold addresses and networks, such as 10.0.0.0/8: {error}") from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        # It would never match: an IPv4 client is an IPv4 client however a socket shows it.
        raise SettingInvalid(f"{name}: write {given} as an IPv4 address or network")
    return network


def _prefixed(environment: Mapping[str, str], name: str, prefix: str) -> str | None:
    value = environment.get(name) or None
    if value is not None and not re.fullmatch(prefix + "[!-~]+", value):
        raise SettingInvalid(f"{name} must begin with {prefix}, and go on without blanks or special characters")
    return value


def _encryption_keys(environment: Mapping[str, str]) -> tuple[str, ...]:
    given = environment.get("USERFOLD_ENCRYPTION_KEY") or ""
    keys = tuple(key.strip() for key in given.split(",") if key.strip())
    # 32 bytes, as `userfold encryption new-key` prints them.
    if not all(re.fullmatch("[A-Za-z0-9_-]{43}=", key) for key in keys):
        raise SettingInvalid(
            "USERFOLD_ENCRYPTION_KEY must hold keys as `userfold encryption new-key` prints them, separated by commas"
        )
    return keys


def _product_id(environment: Mapping[str, str]) -> str | None:
    value = _prefixed(environment, "USERFOLD_PRODUCT_ID", "prd_")
    if value is not None and len(value) != PRODUCT_ID_LENGTH:
        raise SettingInvalid(
            f"USERFOLD_PRODUCT_ID must have exactly {PRODUCT_ID_LENGTH} characters (prd_ and 26 more), not {len(value)}"
        )
    return value


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = environment.get(name) or choices[0]
    if value not in choices:
        raise SettingInvalid(f"{name} must be one of: {', '.join(choices)}")
    return value
