"""Which nodes XNNPACK switches to channel-major tensors, the layout its sparse kernels need. Pure; no files.

XNNPACK decides per cluster: nodes that can compute channel-major, joined where one reads what another writes. A cluster
begins at a convolution that converts (NHWC in, channel-major out) and ends at a reduction or DEPTH_TO_SPACE. It is
dropped when a member reads something that is not made inside it, when one of its tensors is also read by a node that
cannot read it, or when at most 2/3 of its 1x1 weights are zero. It is *not* dropped when its last node is none that
converts back: that node then reads channel-major values as NHWC, and its output is wrong.

The steps and their order are those of `xnn_subgraph_rewrite_for_nchw`, because the order decides odd cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

READ_ONCE = "Multiply by 2 instead of adding a tensor to itself."


@dataclass(frozen=True)
class Obstacle:
    """Why a cluster cannot go sparse: the operator at fault, the reason, the cure."""

    operator: int
    reason: str
    cure: str


@dataclass
class Node:
    """One node of XNNPACK's graph.

    Attributes:
        operator: its operator's index in the model; a fused PAD belongs to the convolution behind it.
        inputs: the tensors it reads that are computed at run time, with repetitions.
        output: the tensor it writes.
        inside, begins, ends: can compute channel-major; turns NHWC into it; turns it back.
        obstacle: why it can do none of these.
        parameters, zeros: of a 1x1 convolution or fully connected node.
        one_pixel: its tensors have one pixel, so that both layouts are the same bytes.
    """

    operator: int
    inputs: tuple[int, ...]
    output: int
    inside: bool = False
    begins: bool = False
    ends: bool = False
    obstacle: Obstacle | None = None
    parameters: int = 0
    zeros: int = 0
    one_pixel: bool = False


@dataclass(eq=False)
class Cluster:
    """A cluster's verdict; `obstacles` are empty for one whose graph conforms."""

    parameters: int = 0
    zeros: int = 0
    obstacles: list[Obstacle] = field(default_factory=list)
    closed: bool = True

    @property
    def conforms(self) -> bool:
        return self.closed and not self.obstacles

    @property
    def enough_zeros(self) -> bool:
        """Strictly more than 2/3 of the 1x1 weights are zero."""
        return self.zeros * 3 > self.parameters * 2

    @property
    def enough_weights(self) -> bool:
        """It would have enough zeros if all were pruned."""
        return self.parameters > 0


@dataclass(frozen=True)
class Layout:
    """Whether a node reads and writes channel-major tensors.

    `misreads`: it reads channel-major values and computes as if they were NHWC.
    """

    reads: bool
    writes: bool
    misreads: bool


@dataclass(frozen=True)
class Clusters:
    """The clusters of one partition: `of[n]` is that of node n; `active` nodes are those that could switch."""

    nodes: Sequence[Node]
    of: Sequence[Cluster]
    active: Collection[int]
    ends: Sequence[bool]

    def layouts(self, is_on: Callable[[Cluster], bool]) -> list[Layout]:
        """Each node's layout once those of the conforming clusters are on that `is_on` says."""
        on = [n for n in self.active if self.of[n].conforms and is_on(self.of[n])]
        switched = {tensor for n in on for tensor in self.nodes[n].inputs}
        found = []
        for n, node in enumerate(self.nodes):
            reads, writes = any(tensor in switched for tensor in node.inputs), node.output in switched
            right = node.one_pixel or ((writes or self.ends[n]) and not node.begins)
            found.append(Layout(reads, writes, reads and not right))
        return found


def find_clusters(
    nodes: Sequence[Node],
    external: Collection[int],
    other_readers: dict[int, Obstacle],
    *,
    repeated_input_branches: bool,
) -> Clusters:
    """The clusters of one delegated partition.

    Args:
        nodes: in execution order.
        external: tensors that cross the partition's border, either way.
        other_readers: for such tensors, why the reader outside cannot take them channel-major.
        repeated_input_branches: a node that reads a tensor twice counts as two readers where compatible ones are
            counted, and as one where all are.
    """
    producer = {node.output: n for n, node in enumerate(nodes)}
    leader = list(range(len(nodes)))
    ends = [node.ends for node in nodes]
    blame: dict[int, list[Obstacle]] = {}

    def join(n: int) -> bool:
        """Joins a node to the producers of its inputs; notes what stands in the way. True if a leader changed."""
        node, changed = nodes[n], False
        for tensor in node.inputs:
            p = producer.get(tensor)
            if tensor in external or p is None:
                blame.setdefault(n, []).append(_crossing(node, tensor, p is None, other_readers))
            elif (nodes[p].inside or nodes[p].begins) and p not in blame:
                ends[p] = ends[p] and not nodes[p].inside
                if leader[p] != leader[n]:
                    leader[p] = leader[n] = max(leader[p], leader[n])
                    changed = True
            else:
                blame.setdefault(n, []).extend(blame.get(p) or [nodes[p].obstacle or _unconverted(nodes[p])])
        return changed

    changed = False
    for n in range(len(nodes)):
        if ends[n]:
            changed |= join(n)
    closed = changed
    while changed:
        changed = False
        for n, node in enumerate(nodes):
            if n not in blame and (node.inside or ends[n]):
                changed |= join(n)
    if not closed:  # XNNPACK stops here; join once more, only to name what else is in the way
        for n, node in enumerate(nodes):
            if n not in blame and node.inside:
                join(n)

    clusters = [Cluster(closed=closed) for _ in nodes]
    for n, found in blame.items():
        clusters[leader[n]].obstacles.extend(found)
    broken = {leader[n] for n in blame}
    active = [n for n, node in enumerate(nodes) if (node.inside or ends[n]) and leader[n] not in broken]

    compatible = Counter(tensor for n in active for tensor in nodes[n].inputs)
    readers: Counter[int] = Counter()
    for node in nodes:
        readers.update(set(node.inputs) if repeated_input_branches else node.inputs)
    for n in active:
        for tensor in nodes[n].inputs:
            if compatible[tensor] != readers[tensor]:
                clusters[leader[n]].obstacles.append(_branch(nodes, nodes[n], tensor, set(active)))
    for n, node in enumerate(nodes):
        clusters[leader[n]].parameters += node.parameters
        clusters[leader[n]].zeros += node.zeros

    return Clusters(nodes, [clusters[leader[n]] for n in range(len(nodes))], active, ends)


def _crossing(node: Node, tensor: int, from_outside: bool, other_readers: dict[int, Obstacle]) -> Obstacle:
    if tensor in other_readers:
        return other_readers[tensor]
    if from_outside:
        return Obstacle(
            node.operator,
            "it reads the model's input, and a cluster begins only with a 3x3 convolution of stride 2 over 3 channels",
            "Begin with ZeroPadding2D(1) and a 3x3 VALID convolution of stride 2 over 3 input channels.",
        )
    return Obstacle(
        node.operator,
        "it reads a tensor that is also an output of the model",
        "Take the output from a tensor that nothing else reads.",
    )


def _unconverted(node: Node) -> Obstacle:
    return Obstacle(
        node.operator,
        "a new cluster cannot begin behind this operator",
        "Keep everything that should run sparse in front of it.",
    )


def _branch(nodes: Sequence[Node], reader: Node, tensor: int, active: set[int]) -> Obstacle:
    for n, node in enumerate(nodes):
        if tensor in node.inputs and n not in active:
            if node.obstacle is not None:
                return node.obstacle
            return Obstacle(node.operator, "it reads a tensor of the cluster and is not part of it", "Move it behind.")
    return Obstacle(
        reader.operator,
        "it reads the same tensor twice, which XNNPACK miscounts as a branch",
        READ_ONCE,
    )
