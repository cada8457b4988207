"""All pages as one router."""

from typing import Final

from litestar import Router
from litestar.types import ControllerRouterHandler

from wedsync_apm.web.pages import (
    acknowledge,
    board_editor,
    board_mails,
    board_pictures,
    boards,
    calendar,
    charts,
    checks,
    contact_forms,
    contacts,
    drills,
    entry,
    guard,
    heartbeats,
    inbox,
    incidents,
    ladders,
    maintenance,
    on_call,
    phone,
    platform,
    reviews,
    rota,
    rule_editor,
    rules,
    shared_boards,
    silences,
    status,
    status_settings,
    temporary,
    today,
    wedding_forms,
    wedding_imports,
    weddings,
)
from wedsync_apm.web.pages.frame import answer_error

HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    today.today_page,
    weddings.weddings_page,
    weddings.wedding_page,
    weddings.save_emergency,
    *wedding_forms.HANDLERS,
    *wedding_imports.HANDLERS,
    *guard.HANDLERS,
    *incidents.HANDLERS,
    *reviews.HANDLERS,
    charts.charts_page,
    charts.series,
    *boards.HANDLERS,
    *board_mails.HANDLERS,
    *board_pictures.HANDLERS,
    *board_editor.HANDLERS,
    *shared_boards.HANDLERS,
    rules.rules_page,
    rules.adopt_rules,
    rules.rule_page,
    rules.act_on_rule,
    rule_editor.new_rule_page,
    rule_editor.make_rule,
    rule_editor.edit_rule_page,
    rule_editor.save_rule,
    rule_editor.preview_rule,
    inbox.inbox_page,
    *silences.HANDLERS,
    *maintenance.HANDLERS,
    *heartbeats.HANDLERS,
    *checks.HANDLERS,
    *contacts.HANDLERS,
    *contact_forms.HANDLERS,
    *drills.HANDLERS,
    *phone.HANDLERS,
    *on_call.HANDLERS,
    *rota.HANDLERS,
    *temporary.HANDLERS,
    calendar.calendar_page,
    *ladders.HANDLERS,
    *status.HANDLERS,
    *status_settings.HANDLERS,
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
    platform.backups_page,
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
