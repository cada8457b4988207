"""The page about the query language names what there is, and nothing else."""

import re
from pathlib import Path

from wedsync_apm.api.prometheus.parameters import MOST_POINTS
from wedsync_apm.metrics.expression.budget import (
    MOST_ANSWERED,
    MOST_SAMPLES,
    MOST_SECONDS,
    MOST_STEPS,
    MOST_VALUES,
)
from wedsync_apm.metrics.expression.functions import FUNCTIONS
from wedsync_apm.metrics.expression.parsing import LONGEST_EXPRESSION, MOST_OPERATORS
from wedsync_apm.metrics.expression.syntax import Function, Operator

PAGE = (Path(__file__).parents[2] / "docs" / "promql.md").read_text()


def named(row: str) -> set[str]:
    (text,) = re.findall(rf"^\| {row} \| (.+) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`([a-z0-9_]+)`", text)) - {"by", "without"}


def test_every_function_is_in_the_docs_and_no_other() -> None:
    not_by_name = {Function.LATEST, Function.SAMPLES, Function.TIMESTAMP}
    assert named("aggregations") == set(Operator)
    assert named("of a range") == {"absent_over_time", *Function} - not_by_name
    assert named("of an instant") == {"absent", *FUNCTIONS}


def test_the_limits_are_those_of_the_code() -> None:
    limits = PAGE[PAGE.index("## Limits") : PAGE.index("## Over all")]
    for limit in (
        LONGEST_EXPRESSION,
        MOST_OPERATORS,
        MOST_POINTS,
        MOST_ANSWERED,
        MOST_VALUES,
        MOST_STEPS,
        MOST_SAMPLES,
        int(MOST_SECONDS),
    ):
        assert re.search(rf"\b{limit:,}\b", limits), limit
