import ast
import base64
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from wedsync_apm import config
from wedsync_apm.config import (
    SETTINGS,
    env_example,
    load_or_create_secret,
    load_settings,
    settings_markdown,
    unknown_variables,
)
from wedsync_apm.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
READ_HERE = {"public_url"}  # Settings.base_url is how everybody asks for it


@pytest.mark.parametrize("name", ["docs/settings.md", ".env.example"])
def test_the_generated_pages_are_current(name: str) -> None:
    wanted = settings_markdown() if name.endswith(".md") else env_example()
    assert (ROOT / name).read_text(encoding="utf-8") == wanted, "run python -m wedsync_apm.config"


def test_defaults_are_valid_by_their_own_rules() -> None:
    environment = {s.env: s.default_text for s in SETTINGS}
    assert load_settings(environment) == load_settings({})


def test_overrides_win_and_none_is_not_given() -> None:
    environment = {"WEDSYNC_APM_PORT": "9000", "WEDSYNC_APM_HOST": "::1"}
    settings = load_settings(environment, port=None, host="0.0.0.0")  # noqa: S104 - a value, not bound
    assert (settings.port, settings.host) == (9000, "0.0.0.0")  # noqa: S104 - a value, not bound
    with pytest.raises(ConfigurationError, match="No such setting: prot"):
        load_settings({}, prot=1)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "eighty", "'eighty'; expected a whole number from 0 to 65535"),
        ("PORT", "65536", "from 0 to 65535"),
        ("LOG_FORMAT", "xml", "one of text, json"),
        ("PUBLIC_URL", "apm.example.com", "http:// or https://"),
        ("PUBLIC_URL", "https://apm.example.com:x", "http:// or https://"),
        ("DATABASE_URL", "mysql://x", "postgresql://"),
        ("JWT_ALGORITHMS", "none", "ES256, HS256, RS256"),
        ("INGEST_RATE", "nan", "a number from 1"),
        ("EGRESS_ALLOW", "10.0.0.0/8, bad host", "hosts, addresses or networks"),
        ("EGRESS_ALLOW", "localhost:99999", "a port below 65536"),
        ("SMTP_URL", "http://mail", "smtp:// or smtps://"),
    ],
)
def test_a_bad_value_names_itself_and_what_was_expected(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({f"WEDSYNC_APM_{name}": value})
    assert f"WEDSYNC_APM_{name}" in caught.value.detail
    assert expected in caught.value.detail


@pytest.mark.parametrize("name", ["MASTER_KEY", "JWT_SECRET", "DATABASE_URL", "SMTP_URL"])
def test_a_bad_secret_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({f"WEDSYNC_APM_{name}": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_secrets_come_from_files_and_stay_out_of_the_repr(tmp_path: Path) -> None:
    key = bytes(range(32))
    (tmp_path / "key").write_text(base64.b64encode(key).decode() + "\n")
    settings = load_settings({"WEDSYNC_APM_MASTER_KEY_FILE": str(tmp_path / "key")})
    assert settings.master_key == key
    assert "master_key" not in repr(settings)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings({"WEDSYNC_APM_MASTER_KEY_FILE": str(tmp_path / "nothing")})
    with pytest.raises(ConfigurationError, match="both set"):
        load_settings(
            {"WEDSYNC_APM_JWT_SECRET": "x" * 32, "WEDSYNC_APM_JWT_SECRET_FILE": "/dev/null"}
        )


def test_egress_exceptions_may_be_hosts_addresses_and_networks() -> None:
    settings = load_settings({"WEDSYNC_APM_EGRESS_ALLOW": "127.0.0.1:25, 10.0.0.0/8,Mail.LAN,::1"})
    assert settings.egress_allow == ("127.0.0.1:25", "10.0.0.0/8", "mail.lan", "::1")


def test_misspelled_variables_are_told() -> None:
    found = unknown_variables({"WEDSYNC_APM_PROT": "1", "WEDSYNC_APM_PORT": "1", "PATH": "/"})
    assert found == ["WEDSYNC_APM_PROT"]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "::1", "port": 81}, "http://[::1]:81"),
        ({"public_url": "https://apm.example.com/"}, "https://apm.example.com"),
    ],
)
def test_the_address_for_people(given: dict[str, object], url: str) -> None:
    assert load_settings({}, **given).base_url == url


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    made: list[str] = []
    given: list[str] = []

    def make() -> str:
        made.append("x")
        return os.urandom(8).hex()

    threads = [
        threading.Thread(target=lambda: given.append(load_or_create_secret(tmp_path, "a", make)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(given)) == 1
    load_or_create_secret(tmp_path, "b", make)
    path = tmp_path / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["a"] == given[0]
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="not valid JSON"):
        load_or_create_secret(tmp_path, "a", make)


def _names_read() -> set[str]:
    source = Path(config.__file__).parent
    return {
        node.attr
        for file in source.rglob("*.py")
        if file != Path(config.__file__)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }


def test_every_setting_has_an_effect() -> None:
    unread = {setting.name for setting in SETTINGS} - _names_read() - READ_HERE
    assert sorted(unread) == [], "settings that nothing reads"
