"""What is still well: for each collector its limit, and what to do past it.

Each has the file `collectors/<key>.sql`, whose rows carry `subject` and `figure`: the worst figure
is judged. A figure that cannot be told is null, with the reason in `why`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from wedsync_apm.health.model import Finding, Outcome, unknown

Rows = Sequence[Mapping[str, Any]]

SERVER: Final = "Server"
STORAGE: Final = "Storage"
ENGINE: Final = "Engine"
STATEMENTS: Final = "Statements"

MINUTE: Final = 60.0
QUARTER: Final = 900.0
MOST_NAMED: Final = 5


class Sense(StrEnum):
    """On which side of the limit a figure is well."""

    MOST = "at most"
    LEAST = "at least"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A collector's line in the report. `none` says what it means that there are no rows."""

    key: str
    area: str
    title: str
    sense: Sense
    limit: float
    unit: str
    remedy: str
    none: str = "none"
    every: float = MINUTE
    needs_monitor: bool = True
    """Whether it is blind without the rights of pg_monitor."""

    @property
    def expected(self) -> str:
        """The limit in words."""
        if self.sense is Sense.MEASURED:
            return "measured"
        return f"{self.sense.value} {figure_in_words(self.limit, self.unit)}"

    def is_good(self, figure: float) -> bool:
        """Whether the figure is on the good side of the limit, or on it."""
        if self.sense is Sense.LEAST:
            return figure >= self.limit
        return self.sense is Sense.MEASURED or figure <= self.limit


THRESHOLDS: Final = (
    Threshold(
        "right_to_look", SERVER, "Right to look", Sense.LEAST, 1, "",
        "As a superuser: grant pg_monitor to apm_engine.", needs_monitor=False,
    ),
    Threshold(
        "connections", SERVER, "Connections", Sense.MOST, 80, "%",
        "See who holds them (pg_stat_activity), end what was forgotten, or put a pooler before "
        "the database. More max_connections costs memory.",
    ),
    Threshold(
        "own_connections", SERVER, "Connections of this product", Sense.MOST, 60, "%",
        "Run fewer `serve` and `work` processes, or raise max_connections.", needs_monitor=False,
    ),
    Threshold(
        "idle_in_transaction", SERVER, "Idle in a transaction", Sense.MOST, 60, "s",
        "Find the program by its name and mend it; select pg_terminate_backend(…) ends the "
        "session. idle_in_transaction_session_timeout ends such sessions by itself.",
    ),
    Threshold(
        "long_transactions", SERVER, "Longest transaction", Sense.MOST, 300, "s",
        "select pg_cancel_backend(…) ends its statement, pg_terminate_backend(…) the session. A "
        "report that takes long belongs on a standby.",
    ),
    Threshold(
        "blocking", SERVER, "Waiting for a lock", Sense.MOST, 5, "s",
        "Look at the session that is first in the queue: end it if nobody needs it. ALTER TABLE "
        "behind a long query stops everybody else: set lock_timeout before it.",
        none="nobody waits",
    ),
    Threshold(
        "cache_hit", SERVER, "Found in memory", Sense.LEAST, 99, "%",
        "The working set does not fit: raise shared_buffers (WEDSYNC_APM_SHARED_BUFFERS_MB for "
        "the embedded server), or look for statements that read whole tables.",
    ),
    Threshold(
        "wraparound", SERVER, "Age of transaction ids", Sense.MOST, 150, "% of the freezing age",
        "vacuum (freeze) the oldest tables by hand, and see why autovacuum does not: a long "
        "transaction, a replication slot or a prepared transaction that nobody ended.",
        needs_monitor=False,
    ),
    Threshold(
        "dead_rows", SERVER, "Dead rows", Sense.MOST, 20, "%",
        "See whether autovacuum comes through (last_autovacuum), and what holds it up; vacuum the "
        "table by hand meanwhile.",
        none="no table has many", needs_monitor=False,
    ),
    Threshold(
        "bloat", STORAGE, "Room that tables do not need", Sense.MOST, 60, "%",
        "VACUUM makes the room usable again; pg_repack or VACUUM FULL in a quiet hour gives it "
        "back.",
        none="no table over 10 MiB", every=QUARTER, needs_monitor=False,
    ),
    Threshold(
        "replication", SERVER, "Standbys behind", Sense.MOST, 30, "s",
        "Look at the standby's disk and network, and for a long query there.",
        none="no standby",
    ),
    Threshold(
        "slots", SERVER, "Log kept by replication slots", Sense.MOST, 1024, "MiB",
        "If its reader will not come back: select pg_drop_replication_slot(…). "
        "max_slot_wal_keep_size limits what a slot may keep.",
        none="no slot", needs_monitor=False,
    ),
    Threshold(
        "lost_slots", SERVER, "Replication slots that were lost", Sense.MOST, 0, "",
        "Drop the slot, and set its reader up anew.", needs_monitor=False,
    ),
    Threshold(
        "archiving", SERVER, "Archiving fails", Sense.MOST, 300, "s",
        "See the server's log for what archive_command says: the log piles up, and there is no "
        "recovery to a point in time.",
        none="the log is not archived", needs_monitor=False,
    ),
    Threshold(
        "checkpoints", SERVER, "Checkpoints before their time", Sense.MOST, 50, "%",
        "Raise max_wal_size: each of them writes all pages anew.", needs_monitor=False,
    ),
    Threshold(
        "wal", SERVER, "Folder of the log", Sense.MOST, 300, "% of max_wal_size",
        "A slot, an archive that fails or a checkpoint that does not come through keeps it.",
    ),
    Threshold(
        "backend_syncs", SERVER, "Sessions that had to sync", Sense.MOST, 100, "times",
        "The checkpointer does not keep up: faster disks, or a longer checkpoint_timeout.",
    ),
    Threshold(
        "checksums", SERVER, "Damaged pages", Sense.MOST, 0, "",
        "Stop writing, make a copy of the files, and restore the last good backup.",
        needs_monitor=False,
    ),
    Threshold(
        "sequences", STORAGE, "Sequences used up", Sense.MOST, 80, "%",
        "alter sequence … as bigint, and the column with it, before it is full: then every INSERT "
        "fails.",
        every=QUARTER, needs_monitor=False,
    ),
    Threshold(
        "partitions_ahead", STORAGE, "Partitions ahead", Sense.LEAST, 1, "days",
        "The engine's job `tidy` makes them: see whether `work` runs and what it logs.",
        none="no partition at all", needs_monitor=False,
    ),
    Threshold(
        "default_partitions", STORAGE, "Rows beside the partitions", Sense.MOST, 0, "bytes",
        "Rows came for a day without a partition. Make the partition, and move them into it.",
        none="no default partition", needs_monitor=False,
    ),
    Threshold(
        "rollups", ENGINE, "Rollups behind", Sense.MOST, 5, "times their rhythm",
        "See whether `work` runs and what its rollup jobs log; one that does not get through has "
        "too little processor.",
        none="no samples yet", needs_monitor=False,
    ),
    Threshold(
        "growth", STORAGE, "Until the disk is full", Sense.LEAST, 30, "days",
        "Shorten what is kept (docs/storage.md), or make the disk larger before that day.",
        none="less than an hour of history", every=QUARTER, needs_monitor=False,
    ),
    Threshold(
        "table_growth", STORAGE, "Largest table", Sense.MEASURED, 0, "MiB",
        "", none="not measured before", every=QUARTER, needs_monitor=False,
    ),
    Threshold(
        "settings_worth_changing", SERVER, "Settings that harm", Sense.MOST, 0, "",
        "alter system set … ; select pg_reload_conf();", every=QUARTER, needs_monitor=False,
    ),
    Threshold(
        "slow_statements", STATEMENTS, "Slow statements", Sense.MOST, 250, "ms a call",
        "Look at its plan: explain (analyze, buffers). A missing index, or a table that is read "
        "whole, are the usual causes.",
        none="none was run", every=300.0,
    ),
    Threshold(
        "watching_processor", ENGINE, "Cost of watching: processor", Sense.MOST, 1, "% of a core",
        "See which line takes long in the table of the report.",
        none="not measured before", needs_monitor=False,
    ),
    Threshold(
        "watching_storage", ENGINE, "Cost of watching: storage", Sense.MOST, 5, "MiB a day",
        "Many different statements make the snapshots large: see pg_stat_statements.max.",
        needs_monitor=False,
    ),
)  # fmt: skip


def judge_figures(threshold: Threshold, rows: Rows) -> Finding:
    """The worst figure against the limit; what could not be told has not passed."""
    shown = tuple(rows)
    if not rows:
        return Finding(Outcome.PASSED, threshold.none)
    known = [row for row in rows if row["figure"] is not None]
    pick = min if threshold.sense is Sense.LEAST else max
    worst = pick(known, key=lambda row: float(row["figure"]), default=None)
    if worst is None:
        return unknown("not known", str(rows[0].get("why") or "the figure cannot be told"))
    figure = float(worst["figure"])
    value = figure_in_words(figure, threshold.unit)
    if len(rows) > 1 or not threshold.is_good(figure):
        value = f"{value} ({worst['subject']})"
    bad = [row for row in known if not threshold.is_good(float(row["figure"]))]
    if bad:
        named = [
            f"{row['subject']}: {figure_in_words(float(row['figure']), threshold.unit)}"
            for row in bad[:MOST_NAMED]
        ]
        more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        return Finding(Outcome.FAILED, value, "; ".join(named) + more, shown, figure)
    if blind := [row for row in rows if row["figure"] is None]:
        reason = f"{blind[0]['subject']}: {blind[0].get('why') or 'cannot be told'}"
        return Finding(Outcome.UNKNOWN, value, reason, shown, figure)
    return Finding(Outcome.PASSED, value, "", shown, figure)


def figure_in_words(figure: float, unit: str) -> str:
    """The number, short, with its unit."""
    number = f"{figure:,.0f}" if figure == int(figure) else f"{figure:,.2f}"
    return f"{number} {unit}".strip()
