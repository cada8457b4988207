"""The lines of the report that are asked as the API's own login, in their order."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from wedsync_apm.db.queries import load_queries
from wedsync_apm.health.judge import (
    Rows,
    judge_cache_hits,
    judge_checkpoints,
    judge_connections,
    judge_dead_rows,
    judge_extensions,
    judge_functions,
    judge_index_use,
    judge_indexes,
    judge_jobs,
    judge_oldest_transaction,
    judge_partitions,
    judge_policies,
    judge_row_security,
    judge_server,
    judge_settings,
    judge_slots,
    judge_statement_times,
    judge_storage,
    judge_stray_grants,
    judge_stray_roles,
    judge_tables,
    judge_transaction_age,
    judge_unindexed_reads,
)
from wedsync_apm.health.model import Finding
from wedsync_apm.health.versions import statement_for

Q = load_queries(__package__)

SCHEMA: Final = "Schema"
SERVER: Final = "Server"
STORAGE: Final = "Storage"
ENGINE: Final = "Engine"
MEMBER: Final = "As a member"


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the report: which statement, for a server of that major version, and what its
    rows mean."""

    key: str
    area: str
    title: str
    expected: str
    statement: Callable[[int], str]
    judge: Callable[[Rows], Finding]


def always(statement: str) -> Callable[[int], str]:
    """The same statement for every version."""
    return lambda _version: statement


def by_version(stem: str) -> Callable[[int], str]:
    """The words that the version understands, from by_version.sql."""
    return partial(statement_for, stem)


CHECKS: Final = (
    Check(
        "server", SERVER, "Version", "PostgreSQL 15 or later", always(Q.read_server), judge_server
    ),
    Check(
        "tables", SCHEMA, "Tables", "all eight of the contract", always(Q.list_tables), judge_tables
    ),
    Check(
        "row_security",
        SCHEMA,
        "Row Level Security",
        "enabled and forced on every table and partition",
        always(Q.list_tables),
        judge_row_security,
    ),
    Check(
        "policies",
        SCHEMA,
        "Policies",
        "23 or more, none for PUBLIC",
        always(Q.list_policies),
        judge_policies,
    ),
    Check(
        "grants",
        SCHEMA,
        "Rights beside RLS",
        "none for anon, authenticated and PUBLIC",
        always(Q.list_stray_grants),
        judge_stray_grants,
    ),
    Check(
        "roles",
        SCHEMA,
        "Roles of low trust",
        "none bypasses RLS, administers or may become another",
        always(Q.list_stray_roles),
        judge_stray_roles,
    ),
    Check(
        "indexes",
        SCHEMA,
        "Indexes",
        "15 or more of ours, all valid",
        always(Q.list_indexes),
        judge_indexes,
    ),
    Check("index_use", SCHEMA, "Index use", "measured", always(Q.list_indexes), judge_index_use),
    Check(
        "unindexed",
        SCHEMA,
        "Large tables read without an index",
        "none",
        always(Q.list_unindexed_reads),
        judge_unindexed_reads,
    ),
    Check(
        "functions",
        SCHEMA,
        "Functions",
        "present, with a search path, not for PUBLIC",
        always(Q.list_functions),
        judge_functions,
    ),
    Check(
        "partitions",
        STORAGE,
        "Partitions ahead",
        "today and tomorrow, nothing beside",
        always(Q.read_partitions),
        judge_partitions,
    ),
    Check(
        "connections",
        SERVER,
        "Connections",
        "under 80 % in use, none idle in a transaction",
        always(Q.read_activity),
        judge_connections,
    ),
    Check(
        "oldest_transaction",
        SERVER,
        "Oldest transaction",
        "under 300 s",
        always(Q.read_activity),
        judge_oldest_transaction,
    ),
    Check(
        "cache",
        SERVER,
        "Found in memory",
        "99 % or more",
        always(Q.read_cache_hits),
        judge_cache_hits,
    ),
    Check(
        "transaction_age",
        SERVER,
        "Transaction id age",
        "under 1,500 million",
        always(Q.read_transaction_age),
        judge_transaction_age,
    ),
    Check(
        "dead_rows",
        SERVER,
        "Tables full of dead rows",
        "none",
        always(Q.list_dead_rows),
        judge_dead_rows,
    ),
    Check(
        "checkpoints",
        SERVER,
        "Checkpoints",
        "more by plan than on request",
        by_version("read_checkpoints"),
        judge_checkpoints,
    ),
    Check(
        "settings",
        SERVER,
        "Durability settings",
        "fsync, full_page_writes, synchronous_commit on",
        always(Q.list_settings),
        judge_settings,
    ),
    Check(
        "statements",
        SERVER,
        "Statement statistics",
        "kept by pg_stat_statements",
        by_version("read_statement_times"),
        judge_statement_times,
    ),
    Check(
        "extensions",
        SERVER,
        "Extensions",
        "each in its newest version",
        always(Q.list_extensions),
        judge_extensions,
    ),
    Check(
        "slots",
        SERVER,
        "Replication slots",
        "none keeps over 1 GiB",
        always(Q.read_slots),
        judge_slots,
    ),
    Check(
        "storage", STORAGE, "Storage per table", "measured", always(Q.list_storage), judge_storage
    ),
    Check(
        "jobs", ENGINE, "Jobs", "all fine, the last within 300 s", always(Q.list_jobs), judge_jobs
    ),
)
