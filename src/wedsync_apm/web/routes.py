"""All pages as one router."""

from typing import Final

from litestar import Router
from litestar.types import ControllerRouterHandler

from wedsync_apm.web.pages import (
    acknowledge,
    charts,
    entry,
    inbox,
    incidents,
    platform,
    rules,
    today,
)
from wedsync_apm.web.pages.frame import answer_error

HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    today.today_page,
    today.weddings_page,
    incidents.list_page,
    incidents.incident_page,
    incidents.act_on_incident,
    charts.charts_page,
    charts.series,
    rules.rules_page,
    rules.rule_page,
    rules.save_rule,
    inbox.inbox_page,
    acknowledge.acknowledge_page,
    acknowledge.acknowledge,
    entry.sign_in_page,
    entry.sign_in,
    entry.sign_in_as_demo_person,
    entry.sign_out,
    entry.choose_theme,
    entry.choose_organization,
    entry.more,
    entry.static_file,
    platform.database_page,
    platform.report_page,
)

PAGE_BODY_BYTES: Final = 64 * 1024
"""A form is small; more than this is not one of ours."""


def make_router() -> Router:
    """The pages; they need `state.web` (see `session.make_web`) on the app they are put into.

    They sign people in themselves, by cookie, so the API's own door lets them pass.
    """
    return Router(
        path="/",
        route_handlers=list(HANDLERS),
        exception_handlers={Exception: answer_error},
        include_in_schema=False,
        opt={"is_public": True},
        request_max_body_size=PAGE_BODY_BYTES,
    )
