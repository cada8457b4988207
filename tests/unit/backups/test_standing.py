"""What an operator is told about the backups."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from wedsync_apm.backups.standing import Standing, stand
from wedsync_apm.backups.store import Overview
from wedsync_apm.web.build.backups import build_backups

NOON: Final = datetime(2026, 6, 20, 12, tzinfo=UTC)


def backup(**changes: Any) -> dict[str, Any]:
    return {
        "destination": "/mnt/disk",
        "id": "20260620T100000Z-000000",
        "kind": "physical",
        "started_at": NOON - timedelta(hours=2),
        "finished_at": NOON - timedelta(hours=2),
        "stored_bytes": 5 * 1024 * 1024,
        "plain_bytes": 60 * 1024 * 1024,
        "error": "",
        "proven_at": NOON - timedelta(hours=1),
        "is_proven": True,
        "restore_seconds": 12.5,
        "faults": [],
    } | changes


def archive(**changes: Any) -> dict[str, Any]:
    return {
        "destination": "/mnt/disk",
        "kept_until": NOON - timedelta(seconds=8),
        "looked_at": NOON,
        "error": "",
        "failing_since": None,
        "is_remote": False,
        "is_same_device": False,
    } | changes


def standing(
    backups: list[dict[str, Any]], archives: list[dict[str, Any]], hours: float | None = 10
) -> Standing:
    until = None if hours is None else timedelta(hours=hours)
    return stand(Overview(backups, archives, until, NOON))


def test_what_was_measured_stands_beside_what_is_promised() -> None:
    nas = {"destination": "/mnt/nas", "is_remote": True}
    found = standing(
        [backup(), backup(destination="/mnt/nas", proven_at=None, is_proven=None)],
        [archive(), archive(**nas)],
    )
    assert found.objective.because == "a wedding within 24 hours"
    assert (found.loss, found.restore) == (timedelta(seconds=8), timedelta(seconds=12.5))
    assert found.is_loss_kept
    assert found.is_restore_kept
    assert found.is_proven
    assert all(rule.holds for rule in found.rules)
    page = build_backups(found, "UTC")
    assert page.verdict.kind == "ok"
    assert [section.heading for section in page.sections] == [
        "Promised and measured",
        "3-2-1",
        "The log at each destination",
        "Backups",
    ]


def test_without_backups_everything_would_be_lost() -> None:
    found = standing([], [], None)
    assert found.loss is None
    assert not any((found.is_loss_kept, found.is_restore_kept, found.is_proven))
    assert build_backups(found, "UTC").verdict.kind == "crit"


def test_without_a_log_all_since_the_last_good_backup_would_be_lost() -> None:
    bad = {"is_proven": False, "finished_at": NOON, "proven_at": NOON, "faults": ["t is missing"]}
    found = standing([backup(id="b", **bad), backup()], [archive(kept_until=None)])
    assert found.loss == timedelta(hours=2)
    assert not found.is_loss_kept
    assert not found.is_last_proof_good
    assert not found.is_proven
    page = build_backups(found, "UTC")
    assert "t is missing" in " ".join(line.reason for line in page.sections[-1].lines).lower()


def test_a_proof_is_of_its_week() -> None:
    assert standing([backup(proven_at=NOON - timedelta(days=7))], [archive()]).is_proven
    assert not standing([backup(proven_at=NOON - timedelta(days=8))], [archive()]).is_proven


def test_what_failed_is_red_and_says_why() -> None:
    failed = backup(
        finished_at=None, error="No space left on device", proven_at=None, is_proven=None
    )
    found = standing(
        [failed], [archive(kept_until=None, error="No space left on device", failing_since=NOON)]
    )
    page = build_backups(found, "UTC")
    for section in page.sections[-2:]:
        assert [line.status.kind for line in section.lines] == ["crit"]
        assert "No space left" in section.lines[0].reason
