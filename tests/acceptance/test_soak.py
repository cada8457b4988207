"""Whatever is killed and whoever fails, a person is told: a short soak of the real product.

How soon is measured by `python -m benchmarks soak`; here is what must hold at any speed.
"""

from pathlib import Path

import pytest
from benchmarks.providers import Providers
from benchmarks.soak import soak


@pytest.mark.timeout(420)
def test_nobody_is_forgotten_or_told_twice_for_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Providers() as providers:
        verdict = soak(
            tmp_path, providers, vendors=12, weddings=5, seconds=20, seed=7, is_brief=True
        )
    assert verdict.faults, "nothing was broken"
    assert verdict.answered == verdict.conditions == 5
    assert verdict.lost == 0, verdict
    assert verdict.repeats <= verdict.kills, verdict
    assert verdict.sent_after_acknowledgement == 0, verdict
    assert verdict.to_others == 0, verdict
