"""Names of layers: the module path where the model came from torch, what the file offers otherwise.

A node's hints are the texts that a file gives: "layer" (written by mho's export), "scope" (module path that torch's
exporter keeps), "weight" and "bias" (names of the initializers), "node" (the node's own name).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from mho.network.draft import Draft, DraftNode

SCOPES_KEY = "pkg.torch.onnx.name_scopes"
LAYER_KEY = "mho.layer"

WHOLE_KEY = "mho.whole"
"""Of a cast to integers or booleans that mho wrote: what it takes holds such numbers already, so none is changed."""

SMOOTHING = ".smoothing."
"""In the names of operations that scale and shift what a layer takes (`mho.quantization.channel_scaling`)."""

_LONGEST_SCOPES = 1 << 14
"""Characters of torch's list of scopes; parsing takes a hundred times as much memory."""

_WEIGHT_ENDINGS = (".weight", "_weight", ".weight_v")
_BIAS_ENDINGS = (".bias", "_bias")
_TOOL_ENDINGS = ("_quantized", "_DequantizeLinear_Output", "_transposed")
_BETWEEN_PRODUCTS = frozenset(
    {"add", "sub", "mul", "div", "reshape", "transpose", "fake_quantize", "clip", "expand", "where"}
)


def read_hints(node_name: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """Gather the hints that a file's node gives by itself."""
    hints = {"node": node_name}
    if layer := metadata.get(LAYER_KEY):
        hints["layer"] = layer
    if scopes := metadata.get(SCOPES_KEY):
        hints["scope"] = _module_path(scopes)
    return hints


def _module_path(scopes: str) -> str:
    """Return the last module path of torch's list of scopes, whose last entry is the call itself."""
    if len(scopes) > _LONGEST_SCOPES:
        return ""
    try:
        entries = ast.literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    if not isinstance(entries, list) or len(entries) < 2:
        return ""
    return str(entries[-2])


def parameter_stem(name: str, endings: tuple[str, ...] = _WEIGHT_ENDINGS) -> str:
    """Return the module path in a parameter's name (`layer1.0.conv1.weight` -> `layer1.0.conv1`), or ""."""
    for ending in _TOOL_ENDINGS:
        name = name.removesuffix(ending)
    for ending in endings:
        if name.endswith(ending) and not name.startswith("onnx::"):
            return name.removesuffix(ending)
    return ""


def plain_node_name(name: str) -> str:
    """Return a node's name; `/layer1/layer1.0/conv1/Conv` (torch's older exporter) becomes `layer1.0.conv1`."""
    if not name.startswith("/") or name.count("/") < 2:
        return name
    path = ""
    for part in name.strip("/").split("/")[:-1]:
        path = part if not path or part.startswith(path + ".") else f"{path}.{part}"
    return path


def name_layers(draft: Draft) -> None:
    """Give every MVM node its layer name; other nodes make way where they hold it.

    Order of preference: the layer name that mho wrote; the module path in the weight's or the bias's name, unless an
    earlier layer has it; the scope (with what the product does in attention); the node's name; the weight's name.
    """
    roles, consumers = _attention_roles(draft), draft.consumers()
    others = {node.name: node for node in draft.nodes if not node.is_mvm}
    taken: set[str] = set()
    layers = [node for node in draft.nodes if node.is_mvm]
    for index, node in enumerate(layers):
        if "bias" not in node.hints:
            node.hints = {**node.hints, "bias": _bias_ahead(draft, node, consumers)}
        wanted = _layer_name(node, roles.get(node.name, "matmul"), taken) or f"{node.op}_{index}"
        if holder := others.pop(wanted, None):
            draft.rename_node(holder, f"{wanted}.{holder.op}")
        draft.rename_node(node, wanted)
        taken.add(node.name)


def _layer_name(node: DraftNode, role: str, taken: set[str]) -> str:
    hints = node.hints
    if layer := hints.get("layer"):
        return layer
    for stem in (parameter_stem(hints.get("weight", "")), parameter_stem(hints.get("bias", ""), _BIAS_ENDINGS)):
        if stem and stem not in taken:
            return stem
    if "scope" in hints:
        scope = hints["scope"]
        if node.op == "matmul":
            return f"{scope}.{role}" if scope else role
        if scope:
            return scope
    return plain_node_name(hints.get("node", "")) or hints.get("weight", "")


def _bias_ahead(draft: Draft, node: DraftNode, consumers: Mapping[str, list[DraftNode]]) -> str:
    """Return the constant added to the layer's outputs behind a quantizer, which kept it from being the bias."""
    current = node
    while len(readers := consumers.get(current.output, [])) == 1:
        current = readers[0]
        if current.op == "add":
            return next((tensor for tensor in current.inputs if tensor in draft.constants), "")
        if current.op != "fake_quantize":
            break
    return ""


def _attention_roles(draft: Draft) -> dict[str, str]:
    """Find products that lead to a softmax (query times key) and that come from one (attention times value)."""
    consumers = draft.consumers()
    roles: dict[str, str] = {}
    after_softmax: set[str] = set()
    for node in draft.nodes:
        # Where reads what softmax gives as its second operand, where that is not NaN.
        followed = node.inputs[:2] if node.op == "where" else node.inputs[:1]
        if node.op == "softmax" or (node.op in _BETWEEN_PRODUCTS and not after_softmax.isdisjoint(followed)):
            after_softmax.add(node.output)
        if node.op != "matmul":
            continue
        if _meets_softmax_ahead(node, consumers):
            roles[node.name] = "query_key"
        elif node.inputs[0] in after_softmax:
            roles[node.name] = "attention_value"
    return roles


def _meets_softmax_ahead(node: DraftNode, consumers: Mapping[str, list[DraftNode]]) -> bool:
    current = node
    while True:
        readers = consumers.get(current.output, [])
        if len(readers) != 1:
            return False
        current = readers[0]
        if current.op == "softmax":
            return True
        if current.op not in _BETWEEN_PRODUCTS:
            return False
