"""Benchmark networks of tiny sizes, built once for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesparse.networks import Spec, build, parse_network, parse_variant

Build = Callable[[str, str, str], Path]


@pytest.fixture(scope="session")
def networks_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory of this session's own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(networks_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken from, or left in, the user's cache."""
    monkeypatch.setenv("EDGESPARSE_CACHE", str(networks_cache))


@pytest.fixture(scope="session")
def built(networks_cache: Path) -> Build:
    """Build a network with a variant in an encoding."""

    def make(network: str, variant: str, encoding: str) -> Path:
        assert os.environ["EDGESPARSE_CACHE"] == str(networks_cache)
        return build(Spec(parse_network(network), parse_variant(variant)), encoding)

    return make
