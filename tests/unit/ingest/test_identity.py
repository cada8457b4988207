"""Tags as PostgreSQL writes them, compiled and in plain Python.

That the database agrees, tests/sql/test_making_series.py shows.
"""

import json

from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.ingest import identity, plain_runs, runs

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
some_tags = st.dictionaries(text, text, max_size=8).map(lambda tags: tuple(tags.items()))


@given(some_tags)
def test_shorter_names_come_first(tags: tuple[tuple[str, str], ...]) -> None:
    written = identity.tags_text(tags)
    assert json.loads(written) == dict(tags)
    names = [name.encode() for name in json.loads(written)]
    assert names == sorted(names, key=lambda name: (len(name), name))


@given(some_tags)
def test_compiled_and_in_python_the_same_is_written(tags: tuple[tuple[str, str], ...]) -> None:
    compiled = runs.joined_members(tags, {}, identity._member)
    assert compiled == plain_runs.joined_members(tags, {}, identity._member)


def test_a_hundred_tags_are_written_too() -> None:
    tags = {f"tag {number}": "x" for number in range(100)}
    assert json.loads(identity.tags_text(tuple(tags.items()))) == tags
