"""Dashboards as the caller may see and change them."""

from typing import Final

from wedsync_apm.db.nouns import Noun
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

DASHBOARDS: Final = Noun(
    list_sql=Q.list_dashboards,
    find_sql=Q.find_dashboard,
    create_sql=Q.create_dashboard,
    update_sql=Q.update_dashboard,
    delete_sql=Q.delete_dashboard,
)
