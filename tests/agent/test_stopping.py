from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgesparse.agent.stopping import interval_share


@pytest.mark.parametrize("count", [6, 7, 9, 12, 30])
def test_the_interval_is_the_sign_tests(count: int) -> None:
    medians = np.random.default_rng(count).lognormal(0, 0.1, count)
    interval = stats.quantile_test(medians, q=np.median(medians), p=0.5).confidence_interval(0.95)
    expected = (interval.high - interval.low) / 2 / np.median(medians)
    assert interval_share(list(medians)) == pytest.approx(expected)


def test_too_few_launches_give_no_interval() -> None:
    assert interval_share([1.0] * 5) is None
    assert interval_share([]) is None
    assert interval_share([1.0] * 6) == 0
