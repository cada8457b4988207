"""Rules for tests, with little to say."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wedsync_apm.rules.model import AlertRule, Operator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def a_rule(**values: Any) -> AlertRule:
    """A rule that is broken above 3,000, unless told otherwise."""
    return AlertRule(
        **{
            "id": UUID(int=1),
            "organization_id": UUID(int=2),
            "alert_name": "Order form is slow",
            "metric_pattern": "forms.submit_time",
            "comparison_operator": Operator.ABOVE,
            "threshold_value": 3000.0,
            "created_at": EPOCH,
            "updated_at": EPOCH,
            **values,
        }
    )
