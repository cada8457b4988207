"""`label_replace` and `label_join`, with the regular expressions and templates of Go.

RE2 does the matching, so that no pattern runs away. A template `$1`, `${1}` or `$name` becomes
RE2's `\\1`; one that names no group stands for the empty text, as in Go.
"""

import re
from collections.abc import Sequence
from typing import Final

from wedsync_apm.metrics.expression.matching import check_label
from wedsync_apm.metrics.expression.syntax import NotAnswered
from wedsync_apm.metrics.expression.vectors import Labels, Vector, join_alike

_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)
_GROUP: Final = re.compile(
    r"\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?:\?P?<(\w+)>|(?!\?))", re.DOTALL
)


def replace_label(vector: Vector, target: str, template: str, source: str, pattern: str) -> Vector:
    """Where the whole value of the source fits the pattern, the target becomes what the template
    says. Raises NotAnswered for a pattern or a name that is none, and AmbiguousAnswer."""
    check_label(target, "label_replace()")
    values = [labels.get(source, "") for labels in vector.labels]
    changed = _replacements(sorted(set(values)), pattern, template)
    return _with_labels(vector, target, [changed.get(value) for value in values])


def join_labels(vector: Vector, target: str, separator: str, sources: Sequence[str]) -> Vector:
    """The target becomes the values of the sources, with the separator between them.

    Raises NotAnswered for a name that is none, and AmbiguousAnswer.
    """
    for name in (target, *sources):
        check_label(name, "label_join()")
    joined = [separator.join(labels.get(name, "") for name in sources) for labels in vector.labels]
    return _with_labels(vector, target, joined)


def _with_labels(vector: Vector, target: str, values: Sequence[str | None]) -> Vector:
    """The series with this value of the label; None leaves one as it is, and no text takes it
    away."""
    labels: list[Labels] = []
    for one, value in zip(vector.labels, values, strict=True):
        if value:
            labels.append({**one, target: value})
        elif value is None or target not in one:
            labels.append(one)
        else:
            labels.append({name: text for name, text in one.items() if name != target})
    return join_alike(Vector(labels, vector.matrix))


def _replacements(values: Sequence[str], pattern: str, template: str) -> dict[str, str]:
    # It takes some thirty megabytes, and most processes are never asked for a pattern.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    whole = f"^(?:{pattern})$"
    try:
        texts = pa.array(values, pa.string())
        fits = pc.match_substring_regex(texts, pattern=whole).to_pylist()
        found = pc.replace_substring_regex(
            texts, pattern=whole, replacement=_rewrite(template, pattern), max_replacements=1
        ).to_pylist()
    except pa.ArrowInvalid as exc:
        raise NotAnswered(f"invalid regular expression in label_replace(): {pattern}") from exc
    return {
        value: text
        for value, fit, text in zip(values, fits, found, strict=True)
        if fit and text is not None
    }


def _rewrite(template: str, pattern: str) -> str:
    groups = [one.group(1) for one in _GROUP.finditer(pattern) if one.group().startswith("(")]
    numbers = {name: number for number, name in enumerate(groups, 1) if name is not None}

    def refer(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name is None:
            return "$"
        number = int(name) if name.isdigit() else numbers.get(name)
        if number is None or number > len(groups):
            return ""
        if number > 9:
            raise NotAnswered("label_replace() knows nine groups of a pattern")
        return f"\\{number}"

    texts = [text.replace("\\", "\\\\") for text in _REFERENCE.split(template)[::3]]
    references = [refer(one) for one in _REFERENCE.finditer(template)]
    return "".join(part for pair in zip(texts, [*references, ""], strict=True) for part in pair)
