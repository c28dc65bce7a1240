"""benchmark/significance.py and the sentences made from it: exact where a count by hand is possible."""

import numpy as np
import pytest

from superfine.benchmark import significance
from superfine.benchmark.result import PictureFigures, Result, Row
from superfine.benchmark.significance import bootstrap, paired_test
from superfine.errors import DataError


def test_p_of_five_wins_out_of_five_is_two_patterns_of_thirty_two():
    found = paired_test([5.0, 3.0, 9.0, 4.0, 7.0], [4.0, 1.0, 8.5, 3.0, 6.0])
    assert found.p == 2 / 32 and (found.wins, found.losses) == (5, 0)


def test_p_counts_patterns_by_hand():
    # Differences 1, 2, -4: |sum| = 1. Sums of all signs: ±7, ±5, ±3, ±1, all at least 1.
    assert paired_test([1.0, 2.0, 0.0], [0.0, 0.0, 4.0]).p == 1.0
    # Differences 1, 2, 4: |sum| = 7, reached by 2 of 8.
    assert paired_test([1.0, 2.0, 4.0], [0.0, 0.0, 0.0]).p == 2 / 8


def test_sampled_and_exact_tests_agree():
    random = np.random.RandomState(0)
    first = random.randn(17)
    exact, sampled = paired_test(first[:16] + 0.4, np.zeros(16)), paired_test(first + 0.4, np.zeros(17))
    patterns = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    truth = (np.abs(patterns @ (first + 0.4)) >= abs((first + 0.4).sum()) - 1e-12).mean()
    assert sampled.p == pytest.approx(truth, abs=0.005) and 0 < exact.p < 1


def test_swapping_the_models_flips_the_sign_and_keeps_p():
    first, second = [30.0, 31.5, 29.0, 33.0, 30.2, 28.8], [29.5, 31.0, 29.2, 32.0, 30.0, 28.1]
    there, back = paired_test(first, second), paired_test(second, first)
    assert there.p == back.p and there.difference.mean == -back.difference.mean
    assert (there.wins, there.losses) == (back.losses, back.wins)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.RandomState(1)
    hits = sum(f.low <= 0 <= f.high for f in (bootstrap(random.randn(30)) for _ in range(60)))
    assert 0.85 <= hits / 60 < 1.0


def test_interval_narrows_with_more_pictures_and_is_the_same_every_time():
    random = np.random.RandomState(2)
    few, many = bootstrap(random.randn(10)), bootstrap(random.randn(200))
    assert many.high - many.low < few.high - few.low
    assert bootstrap([1.0, 2.0, 4.0]) == bootstrap([1.0, 2.0, 4.0])


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("inf")], [1.0, float("nan")]])
def test_too_few_or_infinite_figures_are_refused(values):
    with pytest.raises(ValueError):
        bootstrap(values)


def result_of(**models):
    rows = []
    for model, values in models.items():
        pictures = [PictureFigures(str(n), {"psnr": value}) for n, value in enumerate(values)]
        rows.append(Row("Set", 2, model, "standard", {"psnr": float(np.mean(values))}, pictures, 0.0))
    return Result(rows, [], [], {}, {}, {}, "")


def test_comparison_names_the_winner_only_when_sure():
    base = [30.0, 31.0, 29.0, 33.0, 30.5, 28.0, 32.0, 31.2]
    (line,) = significance.comparison(result_of(a=[v + 0.1 for v in base], b=base), "a", "b")
    assert "a beats b" in line and "8 of 8" in line
    (line,) = significance.comparison(result_of(a=base, b=[v + (-1) ** n for n, v in enumerate(base)]), "a", "b")
    assert "cannot be told apart" in line
    (line,) = significance.comparison(result_of(a=[v + 5 for v in base[:5]], b=base[:5]), "a", "b")
    assert "5 pictures are too few" in line


def test_comparison_with_a_model_that_was_not_measured_is_refused():
    with pytest.raises(DataError, match="measured were a, b"):
        list(significance.comparison(result_of(a=[1.0, 2.0], b=[1.0, 3.0]), "a", "c"))


def test_infinite_figures_give_no_interval_and_no_verdict():
    result = result_of(a=[float("inf"), 30.0], b=[29.0, 30.0])
    assert "no interval" in next(significance.intervals(result))
    assert "cannot be tested" in next(significance.comparison(result, "a", "b"))
