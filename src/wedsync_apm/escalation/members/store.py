"""Whom to tell, and the ladders, as the caller may see and change them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from wedsync_apm.db.nouns import Noun, Row
from wedsync_apm.db.pool import Connection
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

NOTIFICATION_RULES: Final = Noun(
    list_sql=Q.list_notification_rules,
    find_sql=Q.find_notification_rule,
    create_sql=Q.create_notification_rule,
    update_sql=Q.update_notification_rule,
    delete_sql=Q.delete_notification_rule,
)


class _Policies(Noun):
    """A ladder and its steps are one thing to whoever writes it."""

    async def create_row(
        self, cx: Connection, *, organization_id: UUID, created_by: UUID, values: Mapping[str, Any]
    ) -> Row:
        row = await Noun.create_row(
            self, cx, organization_id=organization_id, created_by=created_by, values=values
        )
        await _replace_steps(cx, organization_id, row["id"], values["steps"])
        return await self._whole(cx, row["id"])

    async def update_row(
        self, cx: Connection, row_id: UUID, values: Mapping[str, Any]
    ) -> Row | None:
        row = await Noun.update_row(self, cx, row_id, values)
        if row is None:
            return None
        if "steps" in values:
            await _replace_steps(cx, row["organization_id"], row_id, values["steps"])
        return await self._whole(cx, row_id)

    async def _whole(self, cx: Connection, policy_id: UUID) -> Row:
        row = await self.find_row(cx, policy_id)
        assert row is not None  # noqa: S101 written in this transaction, by one who can see it
        return row


ESCALATION_POLICIES: Final = _Policies(
    list_sql=Q.list_escalation_policies,
    find_sql=Q.find_escalation_policy,
    create_sql=Q.create_escalation_policy,
    update_sql=Q.update_escalation_policy,
    delete_sql=Q.delete_escalation_policy,
)


async def _replace_steps(
    cx: Connection, organization_id: UUID, policy_id: UUID, steps: Sequence[Mapping[str, Any]]
) -> None:
    values = {"organization_id": organization_id, "policy_id": policy_id}
    await cx.execute(Q.clear_escalation_steps, values)
    for position, step in enumerate(steps, start=1):
        await cx.execute(Q.add_escalation_step, {**values, **step, "position": position})
