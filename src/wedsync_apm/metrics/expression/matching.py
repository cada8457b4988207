"""Operators between series, and between series and numbers.

Which series of two sides belong together is found once; whether they are there is asked at every
instant, as Prometheus does.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wedsync_apm.metrics.expression.budget import Budget
from wedsync_apm.metrics.expression.syntax import Binary, Matching, NotAnswered
from wedsync_apm.metrics.expression.vectors import (
    NAME,
    AmbiguousAnswer,
    Labels,
    Matrix,
    Scalar,
    Vector,
    join_alike,
    key_of,
    nothing,
    unnamed,
    without,
)
from wedsync_apm.metrics.model import Floats

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Signature = Callable[[Labels], Hashable]


def check_label(name: str, where: str) -> None:
    """Raises NotAnswered for a name that no label may have."""
    if not _LABEL.fullmatch(name):
        raise NotAnswered(f'invalid label name "{name}" in {where}')


def combine_numbers(asked: Binary, left: Scalar, right: Scalar) -> Scalar:
    """An operator between two numbers; the parser lets only a comparison with `bool` through."""
    if asked.operator in _COMPARISONS:
        return _COMPARISONS[asked.operator](left, right).astype(np.float64)
    return _ARITHMETIC[asked.operator](left, right)


def combine_with_number(asked: Binary, vector: Vector, number: Scalar, *, is_left: bool) -> Vector:
    """An operator between series and a number, which stands on the left or on the right.

    Raises AmbiguousAnswer.
    """
    values, present = vector.matrix.values, vector.matrix.present
    left, right = (number, values) if is_left else (values, number)
    if asked.operator in _COMPARISONS:
        is_so = _COMPARISONS[asked.operator](left, right)
        if not asked.is_bool:
            return Vector(vector.labels, Matrix(values, present & is_so))
        found = is_so.astype(np.float64)
    else:
        found = _ARITHMETIC[asked.operator](left, right)
    return join_alike(Vector(unnamed(vector.labels), Matrix(found, present)))


def combine_sets(asked: Binary, left: Vector, right: Vector) -> Vector:
    """`and`, `or` and `unless`. Raises AmbiguousAnswer."""
    instants = left.matrix.values.shape[1]
    signature = _signature(asked.matching)
    if asked.operator == "or":
        unlike = ~_is_any(left, signature, right, instants)
        return join_alike(
            Vector(
                [*left.labels, *right.labels],
                Matrix(
                    np.concatenate((left.matrix.values, right.matrix.values)),
                    np.concatenate((left.matrix.present, right.matrix.present & unlike)),
                ),
            )
        )
    alike = _is_any(right, signature, left, instants)
    wanted = alike if asked.operator == "and" else ~alike
    return Vector(left.labels, Matrix(left.matrix.values, left.matrix.present & wanted))


def _is_any(among: Vector, signature: Signature, of: Vector, instants: int) -> NDArray[np.bool_]:
    """For each series of the one vector, whether any of the other belongs to it."""
    present: defaultdict[Hashable, NDArray[np.bool_]] = defaultdict(
        lambda: np.zeros(instants, np.bool_)
    )
    for labels, there in zip(among.labels, among.matrix.present, strict=True):
        present[signature(labels)] |= there
    nowhere = np.zeros(instants, np.bool_)
    found = [present.get(signature(labels), nowhere) for labels in of.labels]
    return np.array(found, np.bool_).reshape(len(found), instants)


def combine(asked: Binary, left: Vector, right: Vector, budget: Budget) -> Vector:
    """Arithmetic and comparison of series that belong together.

    Raises AmbiguousAnswer where several do, and TooMuch.
    """
    matching, signature = asked.matching, _signature(asked.matching)
    many, one = (right, left) if matching.many == "right" else (left, right)
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, each in enumerate(one.labels):
        rows[signature(each)].append(row)
    _refuse_several(one, many, rows.values(), matching)
    signatures = [signature(each) for each in many.labels]
    pairs = [(row, other) for row, key in enumerate(signatures) for other in rows.get(key, ())]
    instants = left.matrix.values.shape[1]
    if not pairs:
        return nothing(instants)
    budget.check_values(len(pairs), instants)
    of_many, of_one = np.array(pairs).T
    first, second = many.matrix.of(of_many), one.matrix.of(of_one)
    present = first.present & second.present
    if matching.many == "right":
        first, second = second, first
    if asked.operator in _COMPARISONS:
        is_so = _COMPARISONS[asked.operator](first.values, second.values)
        values = is_so.astype(np.float64) if asked.is_bool else first.values
        present = present if asked.is_bool else present & is_so
    else:
        values = _ARITHMETIC[asked.operator](first.values, second.values)
    labels = [_labels(asked, many.labels[row], one.labels[other]) for row, other in pairs]
    _refuse_repeated(matching, [signatures[row] for row, _ in pairs], labels, present)
    return join_alike(Vector(labels, Matrix(values, present)))


def _labels(asked: Binary, many: Labels, one: Labels) -> Labels:
    matching = asked.matching
    found = dict(many)
    if asked.operator in _ARITHMETIC or asked.is_bool:
        found.pop(NAME, None)
    if not matching.many:
        if matching.on:
            found = {name: value for name, value in found.items() if name in matching.labels}
        else:
            found = without(found, matching.labels)
    for name in matching.include:
        if one.get(name):
            found[name] = one[name]
        else:
            found.pop(name, None)
    return found


def _refuse_several(one: Vector, many: Vector, groups: Any, matching: Matching) -> None:
    """Of the side that may have one there must not be two at any instant."""
    asked = many.matrix.is_any
    side = "left" if matching.many == "right" else "right"
    for rows in groups:
        if len(rows) > 1 and ((one.matrix.present[rows].sum(axis=0) > 1) & asked).any():
            those = ", ".join(str(dict(one.labels[row])) for row in rows[:2])
            raise AmbiguousAnswer(
                f"found duplicate series for the match group on the {side} hand-side of the"
                f" operation: [{those}]; many-to-many matching not allowed: matching labels must"
                " be unique on one side"
            )


def _refuse_repeated(
    matching: Matching,
    signatures: Sequence[Hashable],
    labels: Sequence[Labels],
    present: NDArray[np.bool_],
) -> None:
    """Each of the one side may be used once, or, where the other has many, once for each labels."""
    keys: Sequence[Hashable] = signatures
    text = "many-to-one matching must be explicit (group_left/group_right)"
    if matching.many:
        keys = [(key, key_of(one)) for key, one in zip(signatures, labels, strict=True)]
        text = "grouping labels must ensure unique matches"
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    for those in rows.values():
        if len(those) > 1 and (present[those].sum(axis=0) > 1).any():
            raise AmbiguousAnswer(f"multiple matches for labels: {text}")


def _signature(matching: Matching) -> Signature:
    """What two series must have alike to belong together."""
    if matching.on:
        names = sorted(matching.labels)
        return lambda labels: tuple(labels.get(name, "") for name in names)
    left_out = matching.labels | {NAME}
    return lambda labels: frozenset(item for item in labels.items() if item[0] not in left_out)


_ARITHMETIC: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,  # the sign of the dividend, as in Go
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARISONS: Final[Mapping[str, Callable[[Floats, Floats], NDArray[np.bool_]]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
SETS: Final = ("and", "or", "unless")
