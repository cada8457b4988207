"""A request as the answers of Prometheus' API see it."""

from dataclasses import dataclass

from wedsync_apm.api.prometheus.parameters import Parameters
from wedsync_apm.api.services import Services
from wedsync_apm.organizations.model import Identity


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what; what answers it."""

    services: Services
    identity: Identity
    parameters: Parameters
