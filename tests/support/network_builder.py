"""Small float networks written node by node, without a reader."""

from __future__ import annotations

import numpy as np

from mho.arithmetic.operations import infer_shape
from mho.network.graph import Attribute, Network, Node, TensorInfo


class NetworkBuilder:
    """Chains nodes; weights are drawn from a seeded generator."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shapes = {"input": shape}
        self.inputs = ["input"]
        self.last = "input"

    def input(self, name: str, *shape: int) -> str:
        """Add a further input."""
        self.inputs.append(name)
        self.shapes[name] = shape
        return name

    def add(
        self, op: str, *others: str, at: str | None = None, name: str | None = None, **attributes: Attribute
    ) -> str:
        inputs = (at or self.last, *others)
        name = name or f"{op}{len(self.nodes)}"
        shapes = [self.shapes[i] if i in self.shapes else self.constants[i].shape for i in inputs]
        output = f"{name}_out"
        self.shapes[output] = infer_shape(op, shapes, attributes)
        self.nodes.append(Node(name, op, inputs, output, attributes))
        self.last = output
        return output

    def constant(self, name: str, *shape: int, low: float | None = None) -> str:
        values = self.random.normal(size=shape) if low is None else self.random.uniform(low, 2.0, size=shape)
        fan_in = max(1, int(np.prod(shape[1:])))
        self.constants[name] = (values / np.sqrt(fan_in)).astype(np.float32)
        return name

    def conv(
        self,
        outputs: int,
        kernel: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        groups: int = 1,
        dilations: tuple[int, int] = (1, 1),
        bias: bool = False,
        name: str | None = None,
        at: str | None = None,
    ) -> str:
        name = name or f"conv{len(self.nodes)}"
        channels = self.shapes[at or self.last][1]
        kernel, strides = ((size, size) if isinstance(size, int) else size for size in (kernel, stride))
        names = [self.constant(f"{name}.weight", outputs, channels // groups, *kernel)]
        names += [self.constant(f"{name}.bias", outputs)] if bias else []
        sizes = {"kernel": kernel, "strides": strides, "dilations": dilations}
        return self.add("conv", *names, at=at, name=name, pads=pads, groups=groups, **sizes)

    def batch_norm(self, name: str | None = None, axis: int = 1) -> str:
        name = name or f"bn{len(self.nodes)}"
        outputs = self.shapes[self.last][axis]
        names = [self.constant(f"{name}.{key}", outputs) for key in ("scale", "bias", "mean")]
        names.append(self.constant(f"{name}.var", outputs, low=0.5))
        return self.add("batch_norm", *names, name=name, axis=axis, epsilon=1e-5)

    def linear(self, outputs: int, bias: bool = True, name: str | None = None) -> str:
        name = name or f"linear{len(self.nodes)}"
        names = [self.constant(f"{name}.weight", outputs, self.shapes[self.last][-1])]
        names += [self.constant(f"{name}.bias", outputs)] if bias else []
        return self.add("linear", *names, name=name)

    def matmul(self, name: str | None = None) -> str:
        """Add the product of the last values with the network's input, transposed."""
        streamed = self.last
        stored = self.add("transpose", at="input", perm=(0, 1, 3, 2))
        return self.add("matmul", stored, at=streamed, name=name)

    def build(self, *outputs: str) -> Network:
        names = outputs or (self.last,)
        infos = tuple(TensorInfo(name, self.shapes[name]) for name in names)
        inputs = tuple(TensorInfo(name, self.shapes[name]) for name in self.inputs)
        return Network("small", inputs, infos, tuple(self.nodes), self.constants, self.shapes)


def residual(seed: int = 0) -> Network:
    """Two convolutions with BatchNorm around a shortcut, pooled into a classifier."""
    b = NetworkBuilder((1, 3, 8, 8), seed)
    b.conv(8, name="stem.conv")
    b.batch_norm("stem.bn")
    skip = b.add("relu")
    b.conv(8, bias=True, name="block.conv")
    b.batch_norm("block.bn")
    b.add("add", skip)
    b.add("relu")
    b.conv(6, stride=2, pads=(0, 0, 1, 1), groups=2, name="down")
    b.add("relu")
    b.add("reduce_mean", axes=(2, 3), keepdims=False)
    b.linear(5, name="fc")
    return b.build()


def attention(seed: int = 0) -> Network:
    """One head of attention over four tokens of width 6."""
    b = NetworkBuilder((1, 4, 6), seed)
    query = b.linear(6, name="query")
    b.last = "input"
    b.linear(6, name="key")
    key = b.add("transpose", perm=(0, 2, 1))
    b.last = "input"
    value = b.linear(6, name="value")
    b.add("matmul", key, at=query, name="scores")
    b.add("softmax", axis=2)
    b.add("matmul", value, name="mix")
    b.linear(3, name="head")
    return b.build()
