"""Which cores a word means on the chips that boards have."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesparse.agent.affinity import choose_cpus
from tests.agent.sensors.trees import write


def chip(root: Path, ratings: list[int], file: str = "cpu_capacity") -> set[int]:
    write(root, {f"sys/devices/system/cpu/cpu{cpu}/{file}": str(rating) for cpu, rating in enumerate(ratings)})
    return set(range(len(ratings)))


@pytest.mark.parametrize("file", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
def test_big_and_little(tmp_path: Path, file: str) -> None:
    """An RK3588: four small cores, four large ones."""
    allowed = chip(tmp_path, [530] * 4 + [1024] * 4, file)
    assert choose_cpus("big", tmp_path, allowed) == [4, 5, 6, 7]
    assert choose_cpus("little", tmp_path, allowed) == [0, 1, 2, 3]
    assert choose_cpus("big", tmp_path, {0, 1, 5}) == [5], "of those that may be used"


@pytest.mark.parametrize(("wanted", "chosen"), [("0", [0]), ("0,2-3", [0, 2, 3]), ("3, 1", [1, 3])])
def test_lists(tmp_path: Path, wanted: str, chosen: list[int]) -> None:
    assert choose_cpus(wanted, tmp_path, {0, 1, 2, 3}) == chosen


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("big", "all alike, so none is big; name some of 0,1,2,3"),
        ("4", "expected cores out of 0,1,2,3, found 4"),
        ("3-5", "found 4,5"),
        ("2-1", "found none"),
        ("0-99999999", "found 0-99999999"),
        ("fast", "expected big, little or a list of cores such as 0,2-3, found 'fast'"),
        ("0;rm", "expected big, little or a list"),
    ],
)
def test_cores_that_there_are_not(tmp_path: Path, wanted: str, said: str) -> None:
    chip(tmp_path, [1024] * 4)
    with pytest.raises(ValueError, match=said):
        choose_cpus(wanted, tmp_path, {0, 1, 2, 3})


def test_an_x86_chip_with_two_kinds_of_cores_lists_them(tmp_path: Path) -> None:
    """By capacity two of the fast cores would be a kind of their own."""
    allowed = chip(tmp_path, [1024, 1024, 1009, 1009, 640, 640, 640, 640])
    write(tmp_path, {"sys/devices/cpu_core/cpus": "0-3", "sys/devices/cpu_atom/cpus": "4-7"})
    assert choose_cpus("big", tmp_path, allowed) == [0, 1, 2, 3]
    assert choose_cpus("little", tmp_path, allowed - {4}) == [5, 6, 7]
    with pytest.raises(ValueError, match="all alike"):
        choose_cpus("little", tmp_path, {0, 1})


def test_cores_that_are_favoured_a_little_are_no_kind_of_their_own(tmp_path: Path) -> None:
    allowed = chip(tmp_path, [5000000, 4900000, 4800000, 5000000], "cpufreq/cpuinfo_max_freq")
    with pytest.raises(ValueError, match="all alike"):
        choose_cpus("big", tmp_path, allowed)


def test_of_three_kinds_the_words_mean_the_extremes(tmp_path: Path) -> None:
    allowed = chip(tmp_path, [250] * 4 + [711] * 2 + [1024] * 2)
    assert choose_cpus("big", tmp_path, allowed) == [6, 7]
    assert choose_cpus("little", tmp_path, allowed) == [0, 1, 2, 3]
