"""Expressions made by chance, and samples for which they come to something.

The grammar knows the types of the language, so that nearly all that it makes can be answered; what
cannot, must be refused by both sides.
"""

import random
from collections.abc import Iterator, Sequence

from tests.support.remote_write import STALE

Series = tuple[dict[str, str], list[tuple[float, int]]]
"""Labels, and values with their times in milliseconds."""

METRICS = ("hits_total", "load", "size", "odd", "latency_bucket", "owner", "gone", "once")
LABELS = ("", "host", "job", "host, job", "route", "team", "le", "__name__", "nothing")
NUMBERS = ("2", "0.5", "-3", "1e2", "time()", "pi()", "NaN", "Inf", "(1 + 2) * 3 ^ 2", "7 % 3")
DATES = (
    *("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month"),
    "year",
)
MATCHINGS = (
    *("", " on (host)", " on (job)", " ignoring (host)", " ignoring (job)", " ignoring (route)"),
    *(" ignoring (route, le, team, job) group_left", " on (host) group_right"),
    " on (host, job) group_left (route)",
)
HOSTS = ("h0", "h1", "h2", "h3")


def make_world(seed: int, start: int, seconds: int) -> list[Series]:
    """Counters that start anew, gauges with gaps and odd values, a histogram, a series that was
    ended three times and one of a single sample; times are not quite regular."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    end = start + seconds
    made: list[Series] = []
    for number, host in enumerate(HOSTS):
        total = 0.0
        counted = []
        for at in range(start, end + 1, 15):
            total = rng.random() if rng.random() < 0.03 else total + rng.randrange(50)
            if rng.random() < 0.9:
                counted.append((total, at * 1000 + (number % 3) * rng.randrange(4000)))
        route = f"/{number % 2}"
        made.append(
            ({"__name__": "hits_total", "job": "shop", "route": route, "host": host}, counted)
        )
        quiet = rng.randrange(start, end - 600)
        load = [
            (rng.gauss(50, 20), at * 1000)
            for at in range(start + number, end + 1, 20)
            if not quiet < at < quiet + 500
        ]
        made.append(({"__name__": "load", "job": "shop", "host": host}, load))
        size = [(float(rng.randrange(4)) + number / 8, at * 1000) for at in range(start, end, 30)]
        made.append(({"__name__": "size", "job": "depot", "host": host}, size))
        kinds = (1.5, -0.0, 1e6, 1e-7, -3.25)
        odd = [rng.choice((*kinds, float(at))) + number / 8 for at in range(seconds // 45)]
        odd[10] = (float("inf"), float("-inf"), 7.0, 1e8)[number]
        values = [(value, (start + 45 * place) * 1000) for place, value in enumerate(odd)]
        made.append(({"__name__": "odd", "host": host, "job": "shop"}, values))
        made.append(
            (
                {"__name__": "owner", "host": host, "team": f"t{number % 2}"},
                [(1.0, at * 1000) for at in range(start, end, 60)],
            )
        )
    for host in HOSTS[:2]:
        made += _histogram(rng, host, start, end)
    ended = []
    for begins in (start, start + 900, start + 2100):
        ended += [(begins / 1e6, at * 1000) for at in range(begins, begins + 601, 30)]
        ended.append((STALE, (begins + 615) * 1000))
    made.append(({"__name__": "gone", "job": "shop"}, ended))
    made.append(({"__name__": "once"}, [(7.0, (start + 900) * 1000)]))
    return made


def _histogram(rng: random.Random, host: str, start: int, end: int) -> Iterator[Series]:
    bounds = ("0.1", "0.5", "1", "2.5", "+Inf")
    counts = dict.fromkeys(bounds, 0)
    samples: dict[str, list[tuple[float, int]]] = {bound: [] for bound in bounds}
    for at in range(start, end, 30):
        for _ in range(rng.randrange(6)):
            reached = rng.randrange(len(bounds))
            for bound in bounds[reached:]:
                counts[bound] += 1
        for bound in bounds:
            # one bucket was not known at first
            if bound != "1" or at > start + 900:
                samples[bound].append((float(counts[bound]), at * 1000))
    for bound in bounds:
        labels = {"__name__": "latency_bucket", "host": host, "job": "shop", "le": bound}
        yield labels, samples[bound]


class Grammar:
    """Makes texts. Times are seconds; `start` and `end` are those of the world."""

    def __init__(self, seed: int, start: int, end: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._start, self._end = start, end

    def expression(self) -> str:
        """One of series, or of a number."""
        return self._vector(self._rng.choice((1, 2, 2, 3)))

    def _one(self, *choices: str) -> str:
        return self._rng.choice(choices)

    def _duration(self) -> str:
        return self._one("1m", "90s", "5m", "10m", "23s", "15m")

    def _modifier(self) -> str:
        at = self._rng.randrange(self._start, self._end)
        return self._one(
            *[""] * 8,
            " offset 2m",
            " offset -90s",
            f" @ {at}",
            " @ end()",
            " @ start()",
            f" @ {at} offset 1m",
        )

    def _selector(self) -> str:
        name = self._one(*METRICS, "load", "hits_total", "size", "none")
        matchers = self._one(
            *[""] * 5,
            '{job="shop"}',
            '{host!="h1"}',
            '{host=~"h[0-2]"}',
            '{host!~"h0|h3"}',
            '{route=""}',
            '{route!=""}',
            '{team=~"t1|"}',
            '{host=~".+", job=~"(shop|depot)"}',
        )
        return name + matchers

    def _range(self, depth: int) -> str:
        if depth > 1 and self._rng.random() < 0.3:
            step = self._one("", "30s", "1m", "47s", "2m")
            return f"({self._vector(depth - 1)})[{self._duration()}:{step}]{self._modifier()}"
        return f"{self._selector()}[{self._duration()}]{self._modifier()}"

    def _scalar(self, depth: int) -> str:
        if depth > 1 and self._rng.random() < 0.3:
            return f"scalar({self._vector(depth - 1)})"
        return self._one(
            "2", "0.5", "-3", "1e2", "time()", "pi()", "NaN", "Inf", "(1 + 2) * 3 ^ 2", "7 % 3"
        )

    def _labels(self) -> str:
        return self._one(
            "", "host", "job", "host, job", "route", "team", "le", "__name__", "nothing"
        )

    def _vector(self, depth: int) -> str:
        if depth <= 0:
            return self._selector() + self._modifier()
        made = self._rng.choice(
            (
                self._of_range,
                self._of_range,
                self._of_range,
                self._aggregation,
                self._aggregation,
                self._with_number,
                self._with_series,
                self._with_series,
                self._function,
                self._function,
                self._histogram,
            )
        )
        return made(depth)

    def _of_range(self, depth: int) -> str:
        function = self._one(
            "rate", "irate", "increase", "delta", "idelta", "deriv", "resets", "changes",
            "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time",
            "stddev_over_time", "stdvar_over_time", "last_over_time", "present_over_time",
            "absent_over_time", "quantile_over_time", "predict_linear", "holt_winters",
        )  # fmt: skip
        samples = self._range(depth)
        if function in ("changes", "resets"):
            # of what was worked out, the last digit would count
            samples = self._range(1)
        if function == "quantile_over_time":
            quantile = self._one("0.3", "0.9", "-1", "2", "1")
            if "@" not in samples:
                quantile = self._one(quantile, self._scalar(depth))
            return f"{function}({quantile}, {samples})"
        if function == "predict_linear":
            # with `@`, Prometheus 2.42 moves the window on all the same
            samples = f"{self._selector()}[{self._duration()}]{self._one('', ' offset 2m')}"
            return f"{function}({samples}, {self._one('60', '-300', '3600')})"
        if function == "holt_winters":
            return f"{function}({samples}, {self._one('0.3', '0.9')}, {self._one('0.1', '0.5')})"
        return f"{function}({samples})"

    def _aggregation(self, depth: int) -> str:
        operator = self._one(
            "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk",
            "quantile", "count_values",
        )  # fmt: skip
        grouping = self._one("", f"by ({self._labels()}) ", f"without ({self._labels()}) ")
        inner = self._vector(depth - 1)
        if operator in ("stddev", "stdvar"):
            # of great numbers near each other Prometheus has few digits
            inner = f"{self._one('load', 'hits_total', 'size')}{self._modifier()}"
        if operator in ("topk", "bottomk"):
            # of equal values either may be taken
            inner = f"{self._one('load', 'hits_total')}{self._modifier()}"
            return f"{operator} {grouping}({self._one('1', '2', '3', '0')}, {inner})"
        if operator == "quantile":
            quantile = self._one("0.5", "0.95", "0", self._scalar(depth))
            return f"{operator} {grouping}({quantile}, {inner})"
        if operator == "count_values":
            # of others the last digit may differ
            inner = f"{self._one('size', 'owner', 'latency_bucket')}{self._modifier()}"
            return f'{operator} {grouping}("kind", {inner})'
        return f"{operator} {grouping}({inner})"

    def _with_number(self, depth: int) -> str:
        if self._rng.random() < 0.2:
            # where the last digit would count, of what was sent
            return f"{self._selector()} {self._one('%', '==', '!=', '^')} ({self._scalar(1)})"
        operator = self._one("+", "-", "*", "/", ">", "<=", "> bool", "< bool")
        sides = [self._vector(depth - 1), self._scalar(depth)]
        self._rng.shuffle(sides)
        return f"({sides[0]}) {operator} ({sides[1]})"

    def _with_series(self, depth: int) -> str:
        left, right = self._vector(depth - 1), self._vector(depth - 1)
        if self._rng.random() < 0.3:
            operator = self._one("and", "or", "unless")
            on = self._one("", f" on ({self._labels()})", f" ignoring ({self._labels()})")
            return f"({left}) {operator}{on} ({right})"
        if self._rng.random() < 0.3:
            return f"({left}) * on (host) group_left ({self._one('', 'team')}) owner"
        operator = self._one("+", "-", "*", "/", ">", "<", ">= bool")
        on = self._one(*MATCHINGS)
        return f"({left}) {operator}{on} ({right})"

    def _function(self, depth: int) -> str:
        inner = self._vector(depth - 1)
        return self._one(
            f"abs({inner})",
            f"ceil({inner})",
            f"exp(({inner}) / 100)",
            f"ln({inner})",
            f"log2({inner})",
            f"sqrt({inner})",
            f"sgn({inner})",
            f"round({inner}, {self._one('5', '0.1', '0.3')})",
            f"clamp({inner}, {self._one('0', '30')}, {self._one('40', '20')})",
            f"clamp_min({inner}, {self._scalar(depth)})",
            f"clamp_max({inner}, 10)",
            f"-({inner})",
            f"absent({inner})",
            f"vector({self._scalar(depth)})",
            f"timestamp({inner})",
            f"{self._one(*DATES)}({self._one('', f'timestamp({inner})', '1e9 + 1e6 * load')})",
            f"sort({inner})",
            f"sort_desc({inner})",
            self._replacement(inner),
            f'label_join({inner}, "both", "{self._one("-", "")}", "host", "job", "nothing")',
            f"sin({self._selector()} / 100)",
            f"deg({inner})",
        )

    def _replacement(self, inner: str) -> str:
        target, source = self._one("new", "host"), self._one("host", "route", "nothing")
        template = self._one("x-$1", "$1$0", "${2}", "")
        pattern = self._one("h(.)", "(.*)", "(h)([0-2])", "h1")
        return f'label_replace({inner}, "{target}", "{template}", "{source}", "{pattern}")'

    def _histogram(self, depth: int) -> str:
        counts = self._one(
            "latency_bucket", "rate(latency_bucket[5m])", "sum by (le) (latency_bucket)",
            "sum by (le, job) (rate(latency_bucket[10m]))", self._vector(depth - 1),
        )  # fmt: skip
        quantile = self._one("0.5", "0.9", "0.99", "1", "-1", "1.5", self._scalar(depth))
        return f"histogram_quantile({quantile}, {counts})"


def expressions(seed: int, count: int, start: int, end: int) -> Sequence[str]:
    """So many different ones."""
    grammar = Grammar(seed, start, end)
    found: dict[str, None] = {}
    while len(found) < count:
        text = grammar.expression()
        if len(text) < 500:
            found[text] = None
    return list(found)
