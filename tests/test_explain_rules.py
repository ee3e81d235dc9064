"""The rules behind the forecast, without any model: clusters and packing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgesparse.boards.types import load_type
from edgesparse.explain.clusters import Cluster, Clusters, Node, Obstacle, find_clusters
from edgesparse.explain.xnnpack import packing

PI = load_type("raspberrypi5")


def begin(n: int, reads: int) -> Node:
    return Node(n, (reads,), n, begins=True)


def pointwise(n: int, *reads: int, zeros: int = 80) -> Node:
    return Node(n, reads, n, inside=True, parameters=100, zeros=zeros)


def between(n: int, *reads: int) -> Node:
    return Node(n, reads, n, inside=True)


def pool(n: int, reads: int) -> Node:
    return Node(n, (reads,), n, inside=True, ends=True)


def foreign(n: int, *reads: int) -> Node:
    return Node(n, reads, n, obstacle=Obstacle(n, "foreign", "replace it"))


def clusters(*nodes: Node, external: set[int] | None = None, repeated: bool = True) -> Clusters:
    return find_clusters(nodes, {-1} | (external or set()), {}, repeated_input_branches=repeated)


def paths(found: Clusters) -> str:
    """A letter for each node: s writes channel-major, W misreads, e reads it and converts back, - NHWC."""
    layouts = found.layouts(lambda cluster: cluster.enough_zeros)
    return "".join("W" if x.misreads else "s" if x.writes else "e" if x.reads else "-" for x in layouts)


def test_conforming_chain() -> None:
    assert paths(clusters(begin(0, -1), pointwise(1, 0), between(2, 1), pointwise(3, 2), pool(4, 3))) == "sssse"


@pytest.mark.parametrize(("zeros", "expected"), [(200, "----"), (201, "ssse")])
def test_strictly_more_than_two_thirds(zeros: int, expected: str) -> None:
    node = Node(1, (0,), 1, inside=True, parameters=300, zeros=zeros)
    assert paths(clusters(begin(0, -1), node, between(2, 1), pool(3, 2))) == expected


def test_zeros_are_counted_over_the_whole_cluster() -> None:
    found = clusters(begin(0, -1), pointwise(1, 0, zeros=50), pointwise(2, 1, zeros=95), pool(3, 2))
    assert paths(found) == "ssse"


def test_nothing_happens_without_an_end() -> None:
    found = clusters(begin(0, -1), pointwise(1, 0), foreign(2, 1))
    assert paths(found) == "---"
    assert not found.of[1].closed


def test_a_chain_into_a_foreign_node_misreads() -> None:
    """Some other cluster ends properly; this one's last node takes channel-major values for NHWC."""
    found = clusters(begin(0, -1), between(1, 0), pointwise(2, 1), foreign(3, 2), pointwise(4, 3), pool(5, 4))
    assert paths(found) == "ssW---"
    assert {o.operator for o in found.of[4].obstacles} == {3}


def test_a_branch_into_a_foreign_node_keeps_all_dense() -> None:
    found = clusters(begin(0, -1), pointwise(1, 0), foreign(2, 1), pointwise(3, 1), pool(4, 3), foreign(5, 2, 4))
    assert paths(found) == "------"
    assert found.of[3].obstacles[0].reason == "foreign"


def test_a_tensor_that_leaves_ends_the_cluster_before_its_reader() -> None:
    """As an output of the model that is read on: what makes it misreads, what reads it stays dense."""
    found = clusters(begin(0, -1), pointwise(1, 0), pointwise(2, 1), pool(3, 2), external={1})
    assert paths(found) == "sW--"
    assert "output of the model" in found.of[2].obstacles[0].reason


def test_a_pooling_inside_goes_on() -> None:
    """Squeeze and excite: pooled, convolved, multiplied with what was pooled."""
    nodes = begin(0, -1), pointwise(1, 0), pool(2, 1), pointwise(3, 2), between(4, 1, 3), pointwise(5, 4), pool(6, 5)
    assert paths(clusters(*nodes)) == "sssssse"


@pytest.mark.parametrize(("repeated", "expected"), [(True, "-----"), (False, "sssse")])
def test_a_tensor_added_to_itself(repeated: bool, expected: str) -> None:
    nodes = begin(0, -1), pointwise(1, 0), between(2, 1, 1), pointwise(3, 2), pool(4, 3)
    assert paths(clusters(*nodes, repeated=repeated)) == expected


def test_one_pixel_reads_alike_in_both_layouts() -> None:
    head = Node(3, (2,), 3, inside=True, parameters=100, zeros=80, one_pixel=True)
    assert paths(clusters(begin(0, -1), pointwise(1, 0), pool(2, 1), head, foreign(4, 3))) == "ssse-"


@st.composite
def graphs(draw: Any) -> list[Node]:
    """Any chain with skips of the four kinds of node."""
    nodes: list[Node] = [begin(0, -1)]
    for n in range(1, draw(st.integers(2, 12))):
        reads = draw(st.lists(st.integers(max(0, n - 3), n - 1), min_size=1, max_size=2))
        kind = draw(st.sampled_from([pointwise, pointwise, between, foreign, "pool", "begin"]))
        if kind == "pool":
            nodes.append(pool(n, reads[0]))
        elif kind == "begin":
            nodes.append(begin(n, reads[0]))
        elif kind is pointwise:
            nodes.append(pointwise(n, *reads[:1], zeros=draw(st.integers(0, 100))))
        else:
            nodes.append(kind(n, *reads))
    return nodes


def test_a_branch_is_overlooked_beside_a_node_that_reads_twice() -> None:
    """Two compatible readers are counted in one node, and two nodes read: so the foreign one gets what it misreads."""
    nodes = begin(0, -1), pointwise(1, 0), foreign(2, 1), between(3, 1, 1), pool(4, 3)
    assert paths(clusters(*nodes, repeated=True)) == "ssWse"
    assert paths(clusters(*nodes, repeated=False)) == "-----"


@given(graphs(), st.booleans())
def test_what_always_holds(nodes: list[Node], repeated: bool) -> None:
    found = clusters(*nodes, repeated=repeated)
    layouts = found.layouts(lambda cluster: cluster.enough_zeros)
    for node, layout, cluster in zip(nodes, layouts, found.of, strict=True):
        if layout.reads and (node.inside or node.ends):
            assert cluster.conforms and cluster.enough_zeros
        elif layout.reads:
            twice = {tensor for reader in nodes for tensor, times in Counter(reader.inputs).items() if times > 1}
            assert repeated and layout.misreads and twice & set(node.inputs)
        if layout.misreads:
            assert layout.reads and (node.begins or not layout.writes)
        # A channel-major tensor is read by nodes alone that can read it so.
        if layout.writes:
            assert all(layouts[r.operator].reads for r in nodes if node.output in r.inputs)
    assert all(not x.reads and not x.writes for x in found.layouts(lambda cluster: False))


def test_enough_zeros_is_exact() -> None:
    assert not Cluster(parameters=3, zeros=2).enough_zeros
    assert Cluster(parameters=30000, zeros=20001).enough_zeros
    assert not Cluster().enough_zeros


@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.booleans()))
def test_whole_blocks_are_packed_as_blocks(kept: Any) -> None:
    four = np.repeat(kept, 4, axis=0).astype(np.float32)
    expected = "blocks of 4 outputs" if kept.any() else "single values"
    assert packing(four.reshape(four.shape[0], 1, 1, four.shape[1]), PI) == expected


def test_packing_takes_blocks_from_nine_tenths_full() -> None:
    weights = np.zeros((4, 10), np.float32)
    weights[:, :5] = 1.0
    weights[0, :2] = 0.0  # 18 of 20 values of the non-empty blocks
    assert packing(weights, PI) == "blocks of 4 outputs"
    weights[0, 2] = 0.0  # 17 of 20; as pairs of outputs 17 of 20 too
    assert packing(weights, PI) == "single values"
    weights[1, :3] = 0.0  # 14 of 20; as pairs 14 of 14
    assert packing(weights, PI) == "blocks of 2 outputs"
    assert packing(weights, msgspec.structs.replace(PI, arch="x86_64", isa=["sse2"])) == "single values"
