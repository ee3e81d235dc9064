from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesparse import wire

SPEC: dict[str, Any] = {
    "run": "r1", "owner": "me", "bundle": "b" * 64, "runtime": "ai-edge-litert", "runtime_version": "2.3.0",
    "cells": [{"id": "dense/xnnpack/1", "variant": "dense", "backend": "xnnpack", "threads": 1}],
    "files": {"dense": {"model": "a" * 64, "twin": None, "inputs": "c" * 64, "golden": "d" * 64}},
}  # fmt: skip


DELEGATE = {"library": "e" * 64, "options": {"isa": "avx2"}}


def test_a_message_survives_the_line() -> None:
    message = wire.hello("0.1.0", sha256="ab")
    line = wire.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert wire.decode(line) == message


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_in_one_way(line: bytes) -> None:
    try:
        message = wire.decode(line)
    except wire.WireError:
        return
    assert isinstance(message["type"], str)


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"type": 3}', b"null", b'"hello"', b"{}", b"\xff\xfe", b""])
def test_hostile_lines_are_refused(line: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(line)


def test_a_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(wire.WireError, match="at most"):
        wire.decode(b'{"type":"' + b"x" * wire.MAX_LINE_BYTES + b'"}')


def test_another_protocol_is_refused_by_name() -> None:
    with pytest.raises(wire.WireError, match=rf"the agent 9\.9 speaks protocol 99, this end speaks {wire.PROTOCOL}"):
        wire.check_hello({"type": "hello", "protocol": 99, "version": "9.9"}, whom="the agent")
    with pytest.raises(wire.WireError, match="say hello"):
        wire.check_hello({"type": "status"}, whom="the agent")


@pytest.mark.parametrize("delegate", [None, DELEGATE])
def test_a_spec_survives_the_wire(delegate: Any) -> None:
    spec = wire.RunSpec.from_message({**SPEC, "delegate": delegate})
    assert (
        wire.RunSpec.from_message(wire.decode(wire.encode({"type": "submit", "spec": spec.to_message()}))["spec"])
        == spec
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run": "../../etc"}, "plain name"),
        ({"run": None}, "string"),
        ({"cells": []}, "1 to 10000 cells"),
        ({"cells": 3}, "expected keys"),
        ({"cells": [{"id": "dense/gpu/1", "variant": "dense", "backend": "gpu", "threads": 1}]}, "backend"),
        ({"cells": [{"id": "x/xnnpack/1", "variant": "x", "backend": "xnnpack", "threads": 1}]}, "no files"),
        ({"cells": [{"id": "dense/xnnpack/1", "variant": "dense", "backend": "xnnpack", "threads": 0}]}, "threads"),
        ({"files": {"dense": {"model": "../x", "twin": None, "inputs": "c" * 64, "golden": "d" * 64}}}, "SHA-256"),
        ({"samples": 4}, "samples"),
        ({"samples": 7.5}, "whole number"),
        ({"max_rounds": True}, "max_rounds"),
        ({"time_limit_s": float("nan")}, "time_limit_s"),
        ({"surprise": 1}, "expected keys"),
        ({"cells": [{"id": "dense/csr/1", "variant": "dense", "backend": "csr", "threads": 1}]}, "kernels' library"),
        ({"delegate": {"library": "../lib.so", "options": {}}}, "SHA-256"),
        ({"delegate": {"library": "e" * 64, "options": {"threads": 2}}}, "strings by name"),
        ({"delegate": {"library": "e" * 64}}, "expected keys"),
        ({"delegate": "e" * 64}, "expected keys"),
    ],
)
def test_a_spec_that_cannot_be_carried_out_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(wire.WireError, match=says):
        wire.RunSpec.from_message({**SPEC, **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_whatever_comes_as_a_spec_is_read_or_refused(value: object) -> None:
    with pytest.raises(wire.WireError):
        wire.RunSpec.from_message(value)


@given(
    st.sampled_from(sorted(SPEC)),
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.lists(st.none(), max_size=2),
)
def test_a_spec_with_one_odd_value_is_read_or_refused(key: str, value: object) -> None:
    try:
        wire.RunSpec.from_message({**SPEC, key: value})
    except wire.WireError:
        return
    assert isinstance(value, str)
