"""The dashboard editor's page. Pure."""

import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from wedsync_apm.metrics.store import Metric
from wedsync_apm.rules.patterns import full_name
from wedsync_apm.web.views.board import EditView
from wedsync_apm.web.words import WORDS

_PREFIX: Final = "editor."
WORDS_OF_EDITOR: Final = tuple(
    key.removeprefix(_PREFIX) for key in WORDS if key.startswith(_PREFIX)
)
"""What the script says."""


def build_editor(
    board_id: UUID,
    title: str,
    document: str,
    version: int,
    catalogue: Sequence[Metric],
    *,
    faults: tuple[str, ...] = (),
    clash: str = "",
) -> EditView:
    """The form with the document in it; with what is wrong with it, or who else has changed it."""
    metrics = [full_name(one.service_name, one.metric_name) for one in catalogue]
    labels = {key: WORDS[_PREFIX + key] for key in WORDS_OF_EDITOR}
    if metrics:
        labels["metric_example"] = metrics[0]
    return EditView(
        id=board_id,
        title=title,
        document=document,
        version=version,
        metrics=tuple(metrics),
        labels=json.dumps(labels),
        faults=faults,
        clash=clash,
    )
