"""Who is connected, who hears of what, and how many there are of each."""

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from uuid import UUID

from wedsync_apm.live.client import Client
from wedsync_apm.telemetry import Gauge

HEARTBEAT_SECONDS: Final = 15

CLIENTS = Gauge("wedsync_apm_live_clients", "Live connections")


class Roster:
    """The clients of one process."""

    def __init__(self) -> None:
        self._clients: dict[Client, None] = {}
        self._by_subject: dict[UUID, set[Client]] = {}
        self._by_organization: dict[UUID, set[Client]] = {}
        self._operators: set[Client] = set()
        self._slots: list[dict[Client, None]] = [{} for _ in range(HEARTBEAT_SECONDS)]
        self._crowds: Tally[UUID] = Tally()

    def __len__(self) -> int:
        return len(self._clients)

    def everybody(self) -> tuple[Client, ...]:
        """Those who hear nothing yet included."""
        return tuple(self._clients)

    def of_subject(self, subject: UUID) -> tuple[Client, ...]:
        """The connections of one person or key."""
        return tuple(self._by_subject.get(subject, ()))

    def crowds(self) -> Mapping[UUID, int]:
        """How many connections each organization has."""
        return self._crowds

    def hearing(self) -> list[Client]:
        """Everybody who hears anything."""
        return [client for client in self._clients if client.is_hearing]

    def hearing_of(self, organization_id: UUID) -> Collection[Client]:
        """Its own people who hear."""
        return self._by_organization.get(organization_id, ())

    def hearers(self, topic: str, organization_id: UUID | None) -> list[Client]:
        """Whoever an event is for, of an organization or of everybody."""
        candidates: Iterable[Client] = self._clients
        if organization_id is not None:
            candidates = self._by_organization.get(organization_id, set()) | self._operators
        return [one for one in candidates if one.is_hearing and one.hears(topic, organization_id)]

    def due(self, second: int) -> tuple[Client, ...]:
        """Those whose heartbeat comes in this second."""
        return tuple(self._slots[second % HEARTBEAT_SECONDS])

    def add(self, client: Client) -> None:
        """He is connected, and hears nothing yet."""
        self._clients[client] = None
        self._by_subject.setdefault(client.identity.subject, set()).add(client)
        CLIENTS.set(len(self._clients))

    def remove(self, client: Client) -> None:
        """He is gone; he hears nothing any more."""
        self.place(client, frozenset(), is_operator=False)
        self._clients.pop(client, None)
        own = self._by_subject[client.identity.subject]
        own.discard(client)
        if not own:
            del self._by_subject[client.identity.subject]
        CLIENTS.set(len(self._clients))

    def place(self, client: Client, own: frozenset[UUID], *, is_operator: bool) -> None:
        """He is of these organizations now. He must not be hearing."""
        self._crowds.subtract(client.organization_ids)
        self._crowds.update(own)
        for organization_id in client.organization_ids - own:
            if not self._crowds[organization_id]:
                del self._crowds[organization_id]
        client.organization_ids, client.is_operator = own, is_operator

    def begin(self, client: Client) -> None:
        """He hears from now on."""
        client.is_hearing = True
        for organization_id in client.organization_ids:
            self._by_organization.setdefault(organization_id, set()).add(client)
        if client.is_operator:
            self._operators.add(client)
        self._slots[client.slot % HEARTBEAT_SECONDS][client] = None

    def stop(self, client: Client) -> list[UUID]:
        """He hears nothing. Returns the organizations of which nobody hears any more."""
        client.is_hearing = False
        deserted = []
        for organization_id in client.organization_ids:
            neighbours = self._by_organization[organization_id]
            neighbours.discard(client)
            if not neighbours:
                del self._by_organization[organization_id]
                deserted.append(organization_id)
        self._operators.discard(client)
        self._slots[client.slot % HEARTBEAT_SECONDS].pop(client, None)
        return deserted
