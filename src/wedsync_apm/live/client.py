"""One live connection, as the hub sees it."""

from asyncio import Future, TimerHandle
from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from wedsync_apm.live.model import OPERATOR_TOPICS, End, Frame, Standing
from wedsync_apm.live.store import Subject
from wedsync_apm.organizations.model import Identity


class Line(Protocol):
    """The way to one client. Nothing here waits for him."""

    def push(self, frame: Frame) -> bool:
        """Hands a message to the network; False when too much waits there already."""
        ...

    def end(self, end: End, retry_ms: int | None = None) -> None:
        """Says why, ends the connection, and cuts it when the client does not go."""
        ...


class Client:
    """Who listens, to what, and how far he has heard.

    He is either *hearing*, and gets what happens as it happens; or what he may hear is being asked
    for, and `heard` is the number of the last event that he got.
    """

    __slots__ = (
        "expiry",
        "has_begun",
        "heard",
        "identity",
        "is_gone",
        "is_hearing",
        "is_operator",
        "line",
        "organization_ids",
        "settled",
        "slot",
        "topics",
        "wanted",
    )

    def __init__(self, line: Line, identity: Identity, topics: Collection[str], slot: int) -> None:
        self.line = line
        self.identity = identity
        self.topics = frozenset(topics)
        self.wanted: UUID | None = None
        """The one organization that he wants to hear of; None: all that are his."""
        self.heard: int | None = None
        """None: nothing to go on from."""
        self.slot = slot
        """Which of the seconds of a round brings his heartbeat."""
        self.organization_ids: frozenset[UUID] = frozenset()
        self.is_operator = False
        self.is_hearing = False
        self.is_gone = False
        self.has_begun = False
        self.expiry: TimerHandle | None = None
        self.settled: Future[None] | None = None

    @property
    def subject(self) -> Subject:
        """What his rights hang on."""
        return self.identity.kind, self.identity.subject

    def audience(self, standing: Standing) -> tuple[frozenset[UUID], bool]:
        """The organizations that he is to hear of, and whether as an operator of others too."""
        own = standing.organization_ids
        if self.wanted is not None:
            own &= {self.wanted}
        return own, standing.is_operator and self.wanted is None

    def fault(self, standing: Standing | None) -> End | None:
        """Why he may not go on; None if he may."""
        if standing is None:
            return End.SESSION
        identity = self.identity
        if identity.generation is not None and identity.generation != standing.generation:
            return End.SESSION
        own, is_operator = self.audience(standing)
        if not own and not is_operator:
            # A key's organization is gone only with the key itself.
            return End.SESSION if identity.kind == "key" else End.FORBIDDEN
        return None

    def hears(self, topic: str, organization_id: UUID | None) -> bool:
        """Whether an event of this topic is for him, of an organization or of everybody."""
        if topic not in self.topics:
            return False
        is_own = organization_id is None or organization_id in self.organization_ids
        return is_own or (self.is_operator and topic in OPERATOR_TOPICS)
