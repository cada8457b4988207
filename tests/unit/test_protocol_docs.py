"""The pages about the protocols name what there is."""

from pathlib import Path
from typing import Any, cast

from wedsync_apm.api.ingest import datadog
from wedsync_apm.api.ingest.receive import Door
from wedsync_apm.ingest.distribution import SUFFIXES
from wedsync_apm.ingest.intake import Intake

PAGES = Path(__file__).parents[2] / "docs" / "protocols"


def test_every_path_of_datadog_is_in_its_page() -> None:
    page = (PAGES / "datadog.md").read_text()
    routes = datadog.routes(Door(cast("Any", None), Intake(cast("Any", None))))
    for _, path in routes:
        assert f"{path.removeprefix('/datadog')}`" in page, path


def test_the_figures_of_a_distribution_are_in_both_pages() -> None:
    for name in ("datadog.md", "statsd.md"):
        page = (PAGES / name).read_text()
        assert [suffix for suffix in SUFFIXES if f"`name{suffix}`" not in page] == []
