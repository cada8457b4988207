"""The stores that we compare ourselves with, each as its Debian package is, with its defaults."""

import json
import urllib.parse

from benchmarks.peers import find_peer
from benchmarks.server import Server, count_by_queries, free_port, get

_INFLUXDB = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{data}/meta"
[data]
dir = "{data}/data"
wal-dir = "{data}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[monitor]
store-enabled = false
[logging]
level = "warn"
"""


class Prometheus(Server):
    name = "prometheus"
    ready_path = "/-/ready"
    write_path = "/api/v1/write"
    what = "written to its log before the answer, not synced"

    def command(self) -> list[str]:
        config = self.folder / "prometheus.yml"
        config.write_text("global: {}\n")
        return [
            str(find_peer("prometheus")),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]

    def count(self) -> int:
        return count_by_queries(self.base)


class VictoriaMetrics(Server):
    name = "victoria-metrics"
    ready_path = "/health"
    write_path = "/api/v1/write"
    what = "answers from memory; the last seconds die with it"

    def command(self) -> list[str]:
        return [
            str(find_peer("victoria-metrics")),
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=1",
            "-loggerLevel=WARN",
        ]

    def count(self) -> int:
        # Its queries leave out what came in a moment ago and round; the export is exact.
        get(f"{self.base}/internal/force_flush")
        query = urllib.parse.urlencode({"match[]": '{__name__=~"apm_.+"}', "reduce_mem_usage": "1"})
        text = get(f"{self.base}/api/v1/export?{query}")
        return sum(len(json.loads(line)["values"]) for line in text.splitlines())


class InfluxDB(Server):
    name = "influxdb"
    ready_path = "/ping"
    write_path = "/api/v1/prom/write?db=apm"
    what = "its log is synced before the answer"

    def command(self) -> list[str]:
        config = self.folder / "influxdb.conf"
        data = self.folder / "data"
        config.write_text(_INFLUXDB.format(data=data, port=self.port, rpc_port=free_port()))
        return [str(find_peer("influxd")), "-config", str(config)]

    def prepare(self) -> None:
        query = urllib.parse.urlencode({"q": "CREATE DATABASE apm"})
        get(f"{self.base}/query?{query}", data=b"")

    def count(self) -> int:
        query = urllib.parse.urlencode({"db": "apm", "q": "SELECT count(value) FROM /apm_.+/"})
        result = json.loads(get(f"{self.base}/query?{query}"))["results"][0]
        return sum(int(one["values"][0][1]) for one in result.get("series", []))
