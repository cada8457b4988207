"""All servers that can be measured."""

from benchmarks.ours import Ours
from benchmarks.server import Server
from benchmarks.stores import InfluxDB, Prometheus, VictoriaMetrics

SERVERS: dict[str, type[Server]] = {one.name: one for one in (Ours, Prometheus, VictoriaMetrics)}
"""Those that answer Prometheus' query API."""

TAKING_REMOTE_WRITE: dict[str, type[Server]] = {**SERVERS, InfluxDB.name: InfluxDB}

__all__ = ["SERVERS", "TAKING_REMOTE_WRITE", "InfluxDB", "Ours", "Server"]
