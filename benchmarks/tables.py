"""What the sections of the report share: figures over rounds, and tables."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], shape: str = ".3g") -> str:
    """Median [lowest..highest]; the bare figure where there is but one."""
    if not values:
        return "not measured"
    middle = f"{statistics.median(values):{shape}}"
    if len(values) == 1:
        return middle
    return f"{middle} [{min(values):{shape}}..{max(values):{shape}}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(one)} |\n" for one in lines)
