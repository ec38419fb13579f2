"""Which settings are taken, which are refused, and that no refusal repeats a secret."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from userfold.settings import PostgresAddress, SettingInvalid, Settings, read_settings

DEFAULT = Settings(data=Path("userfold-data"), database=Path("userfold-data/userfold.db"))


def test_without_any_setting_the_defaults_hold() -> None:
    settings = read_settings({})
    assert settings == DEFAULT
    assert (settings.host, settings.port, settings.log_format) == ("127.0.0.1", 8787, "text")


def test_an_empty_variable_is_as_good_as_none() -> None:
    reaching = ("DATA", "DATABASE_URL", "PUBLIC_URL", "TRUSTED_PROXIES", "LOG", "ACCESS_LOG")
    names = (*reaching, "SECRET_KEY", "PUBLISHABLE_KEY", "PRODUCT_ID")
    assert read_settings({f"USERFOLD_{name}": "" for name in names}) == DEFAULT


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"USERFOLD_DATA": "/a", "USERFOLD_DATABASE_URL": "sqlite:////a.db"}
    settings = read_settings(environment, data=Path("/b"), database_url="sqlite:////b.db", host="::1", port=0)
    assert (settings.data, settings.database) == (Path("/b"), Path("/b.db"))
    assert (settings.host, settings.port) == ("::1", 0)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///users.db", "users.db"),
        ("sqlite:///a/users.db", "a/users.db"),
        ("sqlite:////srv/users.db", "/srv/users.db"),
    ],
)
def test_a_database_url_has_three_slashes_before_a_relative_path_and_four_before_an_absolute_one(
    url: str, path: str
) -> None:
    assert read_settings({"USERFOLD_DATABASE_URL": url}).database == Path(path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_database_url_may_name_a_server_and_is_shown_nowhere(scheme: str) -> None:
    url = f"{scheme}://ada:hunter2@db/users"
    settings = read_settings({"USERFOLD_DATABASE_URL": url})
    assert settings.database == PostgresAddress(url)
    assert settings.database_file is None
    assert "hunter2" not in repr(settings)


TAKEN: list[tuple[str, str, str, Any]] = [
    ("USERFOLD_PUBLIC_URL", "https://a.example/", "public_url", "https://a.example"),
    ("USERFOLD_PUBLIC_URL", "http://a.example/base", "public_url", "http://a.example/base"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.1", "trusted_proxies", (ip_network("10.0.0.1/32"),)),
    ("USERFOLD_TRUSTED_PROXIES", "::1", "trusted_proxies", (ip_network("::1/128"),)),
    (
        "USERFOLD_TRUSTED_PROXIES",
        " 10.0.0.0/8,, 2001:db8::/32 ,192.0.2.0/255.255.255.0,",
        "trusted_proxies",
        (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("192.0.2.0/24")),
    ),
    ("USERFOLD_TRUSTED_PROXIES", "0.0.0.0/0", "trusted_proxies", (ip_network("0.0.0.0/0"),)),
    ("USERFOLD_TRUSTED_PROXIES", " , ", "trusted_proxies", ()),
    ("USERFOLD_LOG", "json", "log_format", "json"),
    ("USERFOLD_ACCESS_LOG", "true", "access_log", True),
    ("USERFOLD_ACCESS_LOG", "false", "access_log", False),
    ("USERFOLD_SECRET_KEY", "sk_" + "a" * 43, "secret_key", "sk_" + "a" * 43),
    ("USERFOLD_PUBLISHABLE_KEY", "key_" + "a" * 32, "publishable_key", "key_" + "a" * 32),
    ("USERFOLD_PRODUCT_ID", "prd_" + "a" * 26, "product_id", "prd_" + "a" * 26),
]


@pytest.mark.parametrize(("name", "value", "field", "wanted"), TAKEN)
def test_a_variable_is_taken(name: str, value: str, field: str, wanted: Any) -> None:
    assert getattr(read_settings({name: value}), field) == wanted


REFUSED = [
    ("USERFOLD_DATABASE_URL", "sqlite:///"),
    ("USERFOLD_DATABASE_URL", "sqlite://users.db"),
    ("USERFOLD_DATABASE_URL", "users.db"),
    ("USERFOLD_DATABASE_URL", "postgresql://"),
    ("USERFOLD_DATABASE_URL", "mysql://ada:hunter2@db/users"),
    ("USERFOLD_DATABASE_URL", "hunter2"),
    ("USERFOLD_PUBLIC_URL", "a.example"),
    ("USERFOLD_PUBLIC_URL", "ftp://a.example"),
    ("USERFOLD_TRUSTED_PROXIES", "proxy.example"),
    ("USERFOLD_TRUSTED_PROXIES", "*"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.1 10.0.0.2"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.1:80"),
    ("USERFOLD_TRUSTED_PROXIES", "10.0.0.1,nope"),
    ("USERFOLD_TRUSTED_PROXIES", "::ffff:10.0.0.1"),
    ("USERFOLD_TRUSTED_PROXIES", "::ffff:10.0.0.0/104"),
    ("USERFOLD_LOG", "JSON"),
    ("USERFOLD_ACCESS_LOG", "1"),
    ("USERFOLD_SECRET_KEY", "hunter2"),
    ("USERFOLD_SECRET_KEY", "SK_hunter2hunter2hunter2hunter2hunter2hunter2"),
    ("USERFOLD_SECRET_KEY", "sk_hunter2\nhunter2hunter2hunter2hunter2hunter2"),
    ("USERFOLD_SECRET_KEY", "sk_hunter2éhunter2hunter2hunter2hunter2hunter2"),
    ("USERFOLD_PUBLISHABLE_KEY", "pk_hunter2"),
    ("USERFOLD_PRODUCT_ID", "hunter2" + "a" * 23),
    ("USERFOLD_PRODUCT_ID", "prd_" + "a" * 25),
    ("USERFOLD_PRODUCT_ID", "prd_" + "a" * 27),
]
# A key with a blank cannot be sent, and one that is only its prefix can be guessed by everybody.
WEAK = [
    ("USERFOLD_SECRET_KEY", "sk_hunter2 hunter2hunter2hunter2hunter2hunter2"),
    ("USERFOLD_SECRET_KEY", "sk_hunter2hunter2hunter2hunter2hunter2hunter2 "),
    ("USERFOLD_SECRET_KEY", "sk_"),
    ("USERFOLD_PUBLISHABLE_KEY", "key_"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED + WEAK)
def test_a_wrong_value_is_refused_by_its_name_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        read_settings({name: value})
    said = str(refused.value)
    assert name.removeprefix("USERFOLD_").replace("_", " ").lower() in said.replace("_", " ").lower()
    assert "hunter2" not in said
