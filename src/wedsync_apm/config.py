"""One table of settings: `Settings` below. Name, default and help stand together, nowhere else.

Each is read from `WEDSYNC_APM_<NAME>`, or from the file that `WEDSYNC_APM_<NAME>_FILE` names (for
secrets). `docs/settings.md` and `.env.example` are generated from the table.
"""

import base64
import binascii
import fcntl
import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from wedsync_apm.errors import ConfigurationError

PREFIX: Final = "WEDSYNC_APM_"


@dataclass(frozen=True, slots=True)
class Setting:
    """A line of the table. `default` is None where nothing is set unless you set it."""

    name: str
    default: Any
    help: str
    parse: Callable[[str], Any]
    secret: bool

    @property
    def env(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.name.upper()

    @property
    def default_text(self) -> str:
        """The default as one would write it into the environment; empty for none."""
        if self.default is None:
            return ""
        if isinstance(self.default, tuple):
            return ",".join(str(item) for item in self.default)
        return str(self.default)


class _UnfitError(ValueError):
    """A value that a parser refuses; its text says what was expected."""


def _text(raw: str) -> str:
    if not raw.strip():
        raise _UnfitError("some text")
    return raw.strip()


def _path(raw: str) -> Path:
    return Path(_text(raw)).expanduser().absolute()


def _paths(raw: str) -> tuple[Path, ...]:
    found = tuple(_path(part) for part in raw.split(",") if part.strip())
    if len(set(found)) < len(found):
        raise _UnfitError("each folder once")
    return found


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise _UnfitError(f"a number from {lowest:g} to {highest:g}")
        return value

    return parse


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise _UnfitError(f"a whole number from {lowest} to {highest}")
        return value

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise _UnfitError(f"one of {', '.join(allowed)}")
        return raw

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        try:
            parts = urlsplit(raw)
            fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise _UnfitError(
                f"an address that begins with {' or '.join(f'{s}://' for s in schemes)}"
            )
        return raw.rstrip("/")

    return parse


def _correspondent(raw: str) -> str:
    if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+|https://\S+", raw.strip()):
        raise _UnfitError("mailto: and an address, or https://…")
    return raw.strip()


def _database(raw: str) -> str:
    # libpq takes a URL, whose host may be empty (a socket), or key=value pairs.
    if not re.match(r"postgres(ql)?://|(\w+\s*=)", raw):
        raise _UnfitError(
            "postgresql://user:password@host:port/database, or libpq's key=value form"
        )
    return raw


def _key(raw: str) -> bytes:
    text = raw.strip()
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise _UnfitError("32 random bytes in base64, as `openssl rand -base64 32` prints them")
    return key


def _long_secret(raw: str) -> str:
    if len(raw.strip().encode()) < 32:
        raise _UnfitError("at least 32 bytes, as `openssl rand -base64 48` prints them")
    return raw.strip()


_ALGORITHMS: Final = frozenset({"HS256", "ES256", "RS256"})


def _algorithms(raw: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in raw.split(",") if part.strip())
    if not names or not set(names) <= _ALGORITHMS:
        raise _UnfitError(f"a comma-separated list of {', '.join(sorted(_ALGORITHMS))}")
    return names


def _targets(raw: str) -> tuple[str, ...]:
    items = tuple(part.strip().lower() for part in raw.split(",") if part.strip())
    for item in items:
        host, _, port = item.rpartition(":") if re.search(r"[^:]:\d+$", item) else (item, "", "")
        if port and not 0 < int(port) < 65536:
            raise _UnfitError("a port below 65536")
        try:
            ipaddress.ip_network(host.strip("[]"))
        except ValueError:
            if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", host):
                raise _UnfitError(
                    "a comma-separated list of hosts, addresses or networks, each with :port if "
                    "only that one is meant"
                ) from None
    return items


@dataclass(frozen=True, slots=True)
class StatsdAddress:
    """A UDP socket, and the key of the organization that all belongs to which comes in by it."""

    host: str
    port: int
    key: str = field(repr=False)
    is_dogstatsd: bool = False
    """Whether `-5|g` without tags sets a gauge, as DogStatsD has it, and does not change it."""

    @property
    def name(self) -> str:
        """For people and telemetry."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_STATSD: Final = re.compile(
    r"((?P<dialect>dogstatsd|statsd)://)?"
    r"(\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<v4>[0-9.]+)):(?P<port>\d{1,5})=(?P<key>\S+)"
)


def _statsd(raw: str) -> tuple[StatsdAddress, ...]:
    found: list[StatsdAddress] = []
    for item in filter(None, map(str.strip, raw.split(","))):
        match = _STATSD.fullmatch(item)
        try:
            if match is None or not 0 < int(match["port"]) < 65536:
                raise ValueError
            host = str(ipaddress.ip_address(match["v6"] or match["v4"]))
        except ValueError:
            raise _UnfitError(
                "address:port=ingest key, several separated by commas, such as "
                "127.0.0.1:8125=apm_i_…"
            ) from None
        found.append(
            StatsdAddress(host, int(match["port"]), match["key"], match["dialect"] == "dogstatsd")
        )
    if len({(one.host, one.port) for one in found}) < len(found):
        raise _UnfitError("each address and port once")
    return tuple(found)


_days: Final = _whole(1, 36_500)


def _setting(default: Any, help_text: str, parse: Callable[[str], Any] = _text) -> Any:
    return field(default=default, metadata={"help": help_text, "parse": parse, "secret": False})


def _secret(help_text: str, parse: Callable[[str], Any] = _text) -> Any:
    # repr=False keeps the value out of every log line and traceback that prints the settings.
    return field(
        default=None, repr=False, metadata={"help": help_text, "parse": parse, "secret": True}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process. Secrets do not appear in its repr."""

    database_url: str | None = _secret(
        "PostgreSQL >= 15 to use, as the owner of our schema; a transaction-mode pooler will do. "
        "Empty: an embedded server in the data folder.",
        _database,
    )
    direct_url: str | None = _secret(
        "The same database past the pooler, for migrations and LISTEN. Empty: the database URL.",
        _database,
    )
    pg_bin: Path | None = _setting(
        None,
        "Folder with the programs of PostgreSQL >= 15 for the embedded server. "
        "Empty: the bundled ones, else the newest of the system.",
        _path,
    )
    shared_buffers_mb: int | None = _setting(
        None,
        "What the embedded server keeps of its tables in memory of its own; the system's cache "
        "holds the rest. Empty: 128, less on a small machine. More is for a health report that "
        "finds its cache too small.",
        _whole(16, 1_048_576),
    )
    database_disk_gb: int | None = _setting(
        None,
        "Size of the disk that the database lies on, in GB, so that the health report can say when "
        "it will be full. Empty: known for the embedded server, not known for any other.",
        _whole(1, 1_000_000),
    )
    data_dir: Path = _setting(
        Path(".data"), "Where the embedded database, keys and run-time files lie.", _path
    )
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(8080, "Port to listen on; 0 takes a free one.", _whole(0, 65535))
    serve_processes: int = _setting(
        1,
        "Processes that answer requests at that address. Two take more samples a second where two "
        "cores are free; each needs memory and connections to the database of its own.",
        _whole(1, 64),
    )
    public_url: str | None = _setting(
        None,
        "How people reach the pages, for links in messages and for cookies (https makes them "
        "Secure). Empty: http://HOST:PORT.",
        _url("http", "https"),
    )
    master_key: bytes | None = _secret(
        "32 bytes in base64; wraps the keys that encrypt stored secrets. "
        "Empty: made at the first start into the data folder.",
        _key,
    )
    jwt_secret: str | None = _secret(
        "Secret for HS256 tokens (Supabase's JWT secret). "
        "Empty: made at the first start into the data folder.",
        _long_secret,
    )
    jwks_url: str | None = _setting(
        None, "Where the public keys for ES256 and RS256 tokens are.", _url("https", "http")
    )
    jwt_algorithms: tuple[str, ...] = _setting(
        ("HS256",), "Algorithms that a token may use.", _algorithms
    )
    jwt_audience: str = _setting("authenticated", "The `aud` that a token must carry.")
    smtp_url: str | None = _secret(
        "Mail server: smtp://user:password@host:587 (STARTTLS) or smtps://…:465. "
        "Empty: e-mail only reaches the inbox page.",
        _url("smtp", "smtps"),
    )
    smtp_url_2: str | None = _secret(
        "A second mail server, which takes over at once where the first does not answer or does "
        "not let us in. Empty: none.",
        _url("smtp", "smtps"),
    )
    mail_from: str = _setting("WedSync APM <apm@localhost>", "Sender of our e-mail.")
    twilio_account_sid: str | None = _setting(
        None,
        "Account with Twilio, or with whoever speaks its REST API, for text messages and calls. "
        "Empty: they only reach the inbox page.",
    )
    twilio_auth_token: str | None = _secret(
        "Its token: we sign in with it, and it signs what comes back."
    )
    twilio_from: str | None = _setting(
        None,
        "Number that texts and calls come from, like +447700900123; for texts also a name. Replies "
        "need a number.",
    )
    twilio_messaging_service_sid: str | None = _setting(
        None, "Messaging service that chooses the number of each text, instead of TWILIO_FROM."
    )
    twilio_base_url: str | None = _setting(
        None, "Address of the API. Empty: Twilio's own.", _url("http", "https")
    )
    twilio_account_sid_2: str | None = _setting(
        None,
        "A second account, which takes over at once where the first does not answer or does not "
        "let us in. Empty: none.",
    )
    twilio_auth_token_2: str | None = _secret("Its token.")
    twilio_from_2: str | None = _setting(None, "Number that its texts and calls come from.")
    twilio_messaging_service_sid_2: str | None = _setting(None, "Its messaging service.")
    twilio_base_url_2: str | None = _setting(
        None, "Address of its API. Empty: Twilio's own.", _url("http", "https")
    )
    vapid_private_key: str | None = _secret(
        "Private key that push services know us by: the 32 bytes of a P-256 key in base64url. "
        "Empty: made at the first start into the data folder. Another one ends all subscriptions."
    )
    vapid_subject: str | None = _setting(
        None,
        "Whom a push service writes to about us: mailto:… or https://…. Empty: the address of "
        "MAIL_FROM.",
        _correspondent,
    )
    apprise: str = _setting(
        "on",
        "Whether contacts may use Apprise's services: on or off. Off, such messages only reach the "
        "inbox page.",
        _choice("on", "off"),
    )
    auditor_url: str | None = _secret(
        "Address of a dead-man's switch outside. It gets a POST each minute in which the auditor "
        "found nothing wrong, and should call people when none comes. Empty: none.",
        _url("http", "https"),
    )
    egress_allow: tuple[str, ...] = _setting(
        (),
        "Private hosts, addresses or networks, comma-separated, with :port if only that one, that "
        "outgoing calls may reach in spite of the egress rules.",
        _targets,
    )
    log_format: str = _setting("text", "text or json.", _choice("text", "json"))
    max_body_bytes: int = _setting(
        32 * 1024 * 1024,
        "Largest body of a request after decompression, in bytes.",
        _whole(1024, 2**31),
    )
    max_samples_per_request: int = _setting(
        100_000, "Most samples in one request.", _whole(1, 10_000_000)
    )
    max_tags_per_series: int = _setting(64, "Most tags of one series.", _whole(1, 1000))
    max_tag_key_bytes: int = _setting(128, "Longest tag key, in bytes.", _whole(1, 4096))
    max_tag_value_bytes: int = _setting(1024, "Longest tag value, in bytes.", _whole(1, 65536))
    max_active_series: int = _setting(
        20_000,
        "Most series of one organization with a sample in the last 24 hours.",
        _whole(1, 10_000_000),
    )
    max_sample_age_seconds: int = _setting(
        7 * 86400, "How old a sample may be when it comes in.", _whole(60, 10 * 366 * 86400)
    )
    max_sample_ahead_seconds: int = _setting(
        600, "How far in the future a sample may lie.", _whole(0, 86400)
    )
    ingest_rate: float = _setting(
        10_000.0, "Samples a second that one organization may send on average.", _number(1, 1e9)
    )
    ingest_burst: float = _setting(
        200_000.0, "Samples that one organization may send at once.", _number(1, 1e9)
    )
    max_live_connections: int = _setting(
        100,
        "Most WebSockets and event streams that one organization may have open.",
        _whole(1, 1_000_000),
    )
    max_live_connections_per_person: int = _setting(
        20, "Most of them that one person or API key may have open.", _whole(1, 1_000_000)
    )
    statsd: tuple[StatsdAddress, ...] | None = _secret(
        "UDP sockets for StatsD and DogStatsD, comma-separated: address:port=ingest key. All that "
        "comes in by one is its key's organization's, whoever sends it. Before the address, "
        "dogstatsd:// lets a negative gauge be a value and not a change. Empty: none.",
        _statsd,
    )
    statsd_flush_seconds: float = _setting(
        10.0, "What StatsD sends is added up for this long, then stored.", _number(0.1, 300)
    )
    retention_raw_days: int = _setting(
        14, "Samples are kept so long, unless an organization has a term of its own.", _days
    )
    retention_1m_days: int = _setting(30, "Rollups of a minute are kept so long.", _days)
    retention_5m_days: int = _setting(90, "Rollups of five minutes are kept so long.", _days)
    retention_1h_days: int = _setting(400, "Rollups of an hour are kept so long.", _days)
    retention_1d_days: int = _setting(1825, "Rollups of a day are kept so long.", _days)
    retention_most_days: int = _setting(
        0,
        "Nothing is kept longer, whatever an organization's own terms are; 0 sets no bound.",
        _whole(0, 36_500),
    )
    background_share: float = _setting(
        0.25,
        "How much of one core rollups and compaction may take in each engine, so that a flood of "
        "samples does not starve its own intake; what is not rolled up yet is read from samples.",
        _number(0.01, 1.0),
    )
    evaluation_lease_seconds: float = _setting(
        5.0,
        "Engines share the organizations whose rules they judge. What one has that was killed or "
        "cut off, others take over after this long.",
        _number(1, 60),
    )
    backup_to: tuple[Path, ...] = _setting(
        (),
        "Folders that backups go to, separated by commas; `up` then carries the embedded server's "
        "log there as it is written, and takes backups. Each on another disk or machine. "
        "Empty: no backups.",
        _paths,
    )
    backup_every_hours: int = _setting(
        24, "Hours after which `up` takes the next backup.", _whole(1, 24 * 31)
    )
    backup_keep_daily: int = _setting(7, "Days of which the last backup is kept.", _whole(0, 1000))
    backup_keep_weekly: int = _setting(
        5, "Weeks of which the last backup is kept.", _whole(0, 1000)
    )
    backup_keep_monthly: int = _setting(
        12, "Months of which the last backup is kept.", _whole(0, 1000)
    )
    price_per_gb: float = _setting(
        0.125,
        "What a gigabyte (2^30 bytes) of the database's disk costs a month, in your currency; "
        "usage is shown at this price.",
        _number(0, 1e6),
    )
    wedding_factor: float = _setting(
        0.5,
        "While a wedding is under way, limits without a wedding value of their own are multiplied "
        "by this in the direction that alarms sooner; 1 leaves them as they are.",
        _number(0.01, 1.0),
    )
    hold_minutes_wedding: int = _setting(
        10,
        "While a wedding is under way, whoever has an incident in hand is given up waiting for "
        "after so many minutes without a word, and people are called again; 0: never.",
        _whole(0, 1440),
    )
    hold_minutes: int = _setting(240, "The same at other times.", _whole(0, 10_080))
    promise_minutes_wedding: int = _setting(
        15,
        "While a wedding is under way, the next update about a problem is promised for so many "
        "minutes later; 0: nothing is promised by itself.",
        _whole(0, 1440),
    )
    promise_minutes: int = _setting(60, "The same at other times.", _whole(0, 10_080))
    shared_wedding_vendors: int = _setting(
        2,
        "So many vendors of one wedding in trouble at once are one incident of the platform.",
        _whole(2, 100),
    )
    shared_wedding_minutes: int = _setting(
        15, "Troubles that begin within so many minutes count as at once.", _whole(1, 1440)
    )
    api_key: str | None = _secret(
        "API key by which commands such as `freeze check` ask a running server, at PUBLIC_URL "
        "unless they are told another address. Empty: they ask the database."
    )
    login_attempts_per_minute: int = _setting(
        10, "Sign-in attempts a minute for one address and account.", _whole(1, 10_000)
    )

    @property
    def base_url(self) -> str:
        """How people reach the pages, without a slash at the end."""
        if self.public_url:
            return self.public_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def local_url(self) -> str:
        """How this machine reaches the pages."""
        if self.host in {"0.0.0.0", "", "*"}:  # noqa: S104 - compared, not listened on
            return f"http://127.0.0.1:{self.port}"
        host = "::1" if self.host == "::" else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


SETTINGS: Final = tuple(
    Setting(
        f.name,
        None if f.default is MISSING else f.default,
        f.metadata["help"],
        f.metadata["parse"],
        f.metadata["secret"],
    )
    for f in fields(Settings)
)


def load_settings(env: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """The settings of this process; overrides win, and those that are None count as not given.

    Raises ConfigurationError with the name, what was found (never a secret) and what was expected.
    """
    known = {setting.name for setting in SETTINGS}
    if unknown := overrides.keys() - known:
        raise ConfigurationError(f"No such setting: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        value = overrides.get(setting.name)
        if value is None:
            value = _from_environment(setting, env)
        if isinstance(value, str):
            value = _parse(setting, value)
        if value is not None:
            values[setting.name] = value
    values.setdefault("data_dir", Settings().data_dir)
    values["data_dir"] = Path(values["data_dir"]).expanduser().absolute()
    return Settings(**values)


def unknown_variables(env: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that name no setting: most likely misspelled."""
    names = {s.env for s in SETTINGS} | {f"{s.env}_FILE" for s in SETTINGS}
    return sorted(name for name in env if name.startswith(PREFIX) and name not in names)


def _from_environment(setting: Setting, env: Mapping[str, str]) -> str | None:
    # Set but empty counts as not set: that is how compose files and .env.example leave things open.
    plain, file_name = env.get(setting.env) or None, env.get(f"{setting.env}_FILE") or None
    if file_name is None:
        return plain
    if plain is not None:
        raise ConfigurationError(
            f"{setting.env} and {setting.env}_FILE are both set; keep one of them"
        )
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"{setting.env}_FILE names {file_name!r}, which cannot be read: {exc}"
        ) from exc


def _parse(setting: Setting, raw: str) -> Any:
    try:
        return setting.parse(raw)
    except _UnfitError as exc:
        shown = "a secret that does not fit" if setting.secret else repr(raw)
        raise ConfigurationError(f"{setting.env} is {shown}; expected {exc}") from exc


def load_or_create_secret(data_dir: Path, name: str, make: Callable[[], str]) -> str:
    """The secret of that name in DATA_DIR/secrets.json (0600), made at the first call.

    Safe against two processes at once and against being killed half-way.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "secrets.json"
    lock = os.open(data_dir / "secrets.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            secrets: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            secrets = {}
        except ValueError as exc:
            raise ConfigurationError(f"{path} is not valid JSON: {exc}") from exc
        if name not in secrets:
            secrets[name] = make()
            fresh = path.with_suffix(".new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                json.dump(secrets, out, indent=2)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(path)
        return secrets[name]
    finally:
        os.close(lock)


def stored_secret(data_dir: Path, name: str) -> str | None:
    """The secret of that name in DATA_DIR/secrets.json; None where there is none."""
    path = data_dir / "secrets.json"
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8")).get(name)
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise ConfigurationError(f"{path} is not valid JSON: {exc}") from exc
    return None if found is None else str(found)


def settings_markdown() -> str:
    """The page docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Generated from `src/wedsync_apm/config.py` by `python -m wedsync_apm.config`.",
        "Each can also be given as the name of a file: `<NAME>_FILE`. Empty counts as not set.",
        "",
        "| Variable | Default | Meaning |",
        "|---|---|---|",
    ]
    for setting in SETTINGS:
        default = f"`{setting.default_text}`" if setting.default_text else "(none)"
        lines.append(f"| `{setting.env}` | {default} | {setting.help} |")
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """The file .env.example."""
    lines = ["# Generated from src/wedsync_apm/config.py. Every line is optional."]
    for setting in SETTINGS:
        lines += ["", f"# {setting.help}", f"#{setting.env}={setting.default_text}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path("docs").mkdir(exist_ok=True)
    Path("docs/settings.md").write_text(settings_markdown(), encoding="utf-8")
    Path(".env.example").write_text(env_example(), encoding="utf-8")
