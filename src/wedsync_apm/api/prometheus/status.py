"""What Prometheus' API says about the server itself."""

from typing import Final

from wedsync_apm import __version__
from wedsync_apm.api.prometheus.answers import success
from wedsync_apm.api.prometheus.asked import Asked

SPOKEN: Final = "2.42.0"
"""The version of Prometheus whose language and API are spoken: callers choose by it what to ask."""


async def buildinfo(asked: Asked) -> bytes:
    """The version of Prometheus that is spoken, and what speaks it."""
    return success(
        {
            "version": SPOKEN,
            "revision": __version__,
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
            "application": "WedSync APM",
            "features": {},
        }
    )
