"""What following rules in memory gives: verdicts that are not what they were."""

from typing import NamedTuple
from uuid import UUID

from wedsync_apm.rules.judge import Unit
from wedsync_apm.rules.verdict import Standing

Key = tuple[UUID, str]
"""A rule's id and an instance's key."""


class Transition(NamedTuple):
    """A verdict that is not what it was."""

    unit: Unit
    standing: Standing
    is_late: bool = False
    """Samples that came late have changed it after the fact."""

    @property
    def key(self) -> Key:
        """Whose it is."""
        return (self.unit.rule.id, self.unit.instance.key)
