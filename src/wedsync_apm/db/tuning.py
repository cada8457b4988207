"""The embedded server's settings, by the machine that it runs on."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

MEGABYTE: Final = 1024 * 1024


def tuning(memory: int) -> dict[str, str]:
    """Settings for many small durable writes and short reads, on a machine shared with us.

    `memory` is what there is, in MiB.
    """
    settings = {
        # What it touches it keeps. The system's cache has the rest and gives way to others.
        "shared_buffers": f"{min(max(memory // 8, 64), 128)}MB",
        "effective_cache_size": f"{max(memory // 2, 128)}MB",
        "work_mem": f"{min(max(memory // 512, 4), 32)}MB",
        "maintenance_work_mem": f"{min(max(memory // 32, 64), 512)}MB",
        "max_connections": "120",
        "max_locks_per_transaction": "256",  # a query may touch every day's partition
        "synchronous_commit": "on",  # an acknowledged sample survives a power cut
        "wal_compression": "on",
        "wal_buffers": "16MB",
        "min_wal_size": "256MB",
        "max_wal_size": "2GB",
        # What no archive has fetched yet is kept for it up to here; a disk that fills is worse.
        "max_slot_wal_keep_size": "4GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "jit": "off",  # compiling takes longer than any query of ours
        "shared_preload_libraries": "pg_stat_statements",
        "track_io_timing": "on",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u@%d/%a ",
        "log_lock_waits": "on",
        "log_min_duration_statement": "2s",
        "log_parameter_max_length": "0",  # values are personal data and do not belong in a log
        "log_parameter_max_length_on_error": "0",
    }
    with suppress(OSError):
        shm = os.statvfs("/dev/shm")  # noqa: S108 - only its size is asked
        if shm.f_blocks * shm.f_frsize < 256 * MEGABYTE:
            # Containers give 64 MB by default, less than one parallel query may ask for.
            settings["dynamic_shared_memory_type"] = "mmap"
    return settings


def memory() -> int:
    """What this machine, or the container around us, may use, in MiB."""
    limits = [psutil.virtual_memory().total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits) // MEGABYTE
