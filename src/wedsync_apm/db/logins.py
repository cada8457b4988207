"""How each process enters the database: by a login of its own, with the secret made at first start.

The owner's address is needed for migrations alone. Secrets lie in DATA_DIR/secrets.json (0600), so
that every command that is given the data folder finds them.
"""

import secrets
from pathlib import Path

from wedsync_apm.config import Settings, load_or_create_secret
from wedsync_apm.db.migrate import LOGIN_ROLES, login_conninfo
from wedsync_apm.errors import ConfigurationError


def role_password(data_dir: Path, role: str) -> str:
    """The password of one of our logins, made at the first call."""
    if role not in LOGIN_ROLES:
        raise ConfigurationError(f"{role} is not one of {', '.join(LOGIN_ROLES)}")
    return load_or_create_secret(data_dir, f"{role}_password", lambda: secrets.token_urlsafe(32))


def role_conninfo(settings: Settings, role: str, *, direct: bool = False) -> str:
    """The database as that login enters it; `direct` goes past a pooler (LISTEN needs that).

    Raises ConfigurationError when no database is named: `up` names it to its children.
    """
    url = (settings.direct_url if direct else None) or settings.database_url
    if url is None:
        raise ConfigurationError(
            "No database is named. Start everything with `wedsync-apm up`, name the data folder of "
            "a running one with --data-dir, or set WEDSYNC_APM_DATABASE_URL"
        )
    return login_conninfo(url, role, role_password(settings.data_dir, role))
