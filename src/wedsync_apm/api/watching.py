"""What is watched: health checks."""

from typing import Final

from wedsync_apm.api import check_catalogue, health_checks

HANDLERS: Final = (*health_checks.HANDLERS, *check_catalogue.HANDLERS)
