"""What the pages ask the store for."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.web.pages.gather import last_whole_step


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from([timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)]),
)
def test_the_last_whole_step_is_the_newest_that_is_over(at: datetime, step: timedelta) -> None:
    end = last_whole_step(at, step)
    assert end <= at < end + step
    assert end.timestamp() % step.total_seconds() == 0
