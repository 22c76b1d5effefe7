"""A causal model compiled by OpenVINO, whose attention reads and writes pages of keys and values.

transformers' forward is traced with an attention that only marks its place; OpenVINO's operation
for paged attention (Kwon et al. 2023) takes that place. So any decoder that uses transformers'
attention interface converts in memory, without another package or a file. Whether the result is the
model's own is tried by `lib.inference.engine.load_check`.
"""

import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from lib.modeling.packed.own_forward import without_adapter
from lib.modeling.saving import ModelError

# And the numbers that numpy takes for a page's.
PRECISIONS: dict[torch.dtype, tuple[str, type[np.generic]]] = {
    torch.float32: ("f32", np.float32), torch.bfloat16: ("bf16", np.uint16)}
PAGE_INPUTS = ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
KNOWN = "2026.4"  # the operation's inputs change between versions
INSTALL = f"pip install 'openvino=={KNOWN}.*'"


def installed() -> str:
    """The version of OpenVINO, empty without it."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def openvino_fault(device: torch.device, dtype: torch.dtype) -> str:
    """Why OpenVINO cannot sample here, with a remedy; empty if it can."""
    if not installed().startswith(KNOWN):
        return (f"sampling.engine is openvino, which is {installed() or 'not installed'}; "
                f"{INSTALL}")
    if device.type != "cpu":
        return (f"sampling.engine is openvino, which samples on CPU, and the device is {device}; "
                "set sampling.engine=own or device=cpu")
    if dtype not in PRECISIONS:
        return (f"sampling.engine is openvino, and the precision is {str(dtype)[6:]}; set "
                "precision=float32 or bfloat16")
    return ""


class PagedModel:
    """The compiled model; call it with new tokens of some sequences for their next logits.

    Its weights are a copy of this moment's. Raises ModelError where OpenVINO cannot sample.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if fault := openvino_fault(model.device, model.dtype):
            raise ModelError(fault)
        started = time.perf_counter()
        precision, self.number = PRECISIONS[model.dtype]
        self.compiled = _compiled(_converted(model), precision)
        self.pages = {entry.any_name: entry.partial_shape for entry in self.compiled.inputs
                      if "cache" in entry.any_name}
        sizes = [[shape[axis].get_length() for axis in (1, 2, 3)] for shape in self.pages.values()]
        self.page = sizes[0][1]  # tokens of one page
        self.token_bytes = sum(heads * dim for heads, _, dim in sizes) * self.number().itemsize
        self.seconds = time.perf_counter() - started

    def allocate(self, pages: int) -> None:
        """Make room for keys and values; a page takes memory once it is written."""
        import openvino as ov
        self.request = self.compiled.create_infer_request()
        self.memory = []
        for name, shape in self.pages.items():
            sizes = (pages, *(shape[axis].get_length() for axis in (1, 2, 3)))
            self.memory.append(np.zeros(sizes, self.number))  # 0 times NaN is NaN
            kind = ov.Type.bf16 if self.number is np.uint16 else ov.Type.f32
            self.request.set_tensor(name, ov.Tensor(self.memory[-1], ov.Shape(sizes), kind))

    def copy(self, source: int, targets: np.ndarray) -> None:
        """Copy a page to the pages [n]."""
        for pages in self.memory:
            pages[targets] = pages[source]

    def __call__(self, tokens: np.ndarray | Sequence[np.ndarray], past: np.ndarray,
                 tables: np.ndarray) -> Tensor:
        """Logits after the last of each sequence's new tokens, float32 [sequences, vocabulary].

        tokens: new ones of each sequence; past: how many it had, [sequences]; tables: its pages,
        [sequences, n]. The logits hold until the next call.
        """
        begins = list(accumulate(map(len, tokens), initial=0))
        held = [table[:-(-(had + len(new)) // self.page)]
                for new, had, table in zip(tokens, past, tables, strict=True)]
        positions = [np.arange(had, had + len(new)) for new, had in zip(tokens, past, strict=True)]
        whole = {"input_ids": np.concatenate(tokens)[None], "rows": np.array(begins[1:]) - 1,
                 "position_ids": np.concatenate(positions)[None]}
        short = {"past_lens": past, "subsequence_begins": begins,
                 "block_indices": np.concatenate(held),
                 "block_indices_begins": list(accumulate(map(len, held), initial=0)),
                 "max_context_len": max(begin[-1] for begin in positions) + 1}
        self.request.infer({name: np.asarray(value, np.int64) for name, value in whole.items()}
                           | {name: np.asarray(value, np.int32) for name, value in short.items()})
        return torch.from_numpy(self.request.get_output_tensor(0).data)


# --- conversion ------------------------------------------------------------------------------


_sizes: list[tuple[int, int, int, int]] = []  # of each layer, in order, of the model being traced


@torch.library.custom_op("study::attention_place", mutates_args=())
def _attention_place(query: Tensor, key: Tensor, value: Tensor, scaling: float,
                     window: int) -> Tensor:
    """Marks attention in a traced model; the numbers do not matter, [1, tokens, heads, dim]."""
    _sizes.append((query.shape[1], key.shape[1], key.shape[3], value.shape[3]))
    return value.new_zeros(1, query.shape[2], query.shape[1], value.shape[3])


def _marked_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: None,
                      scaling: float, sliding_window: int | None = None,
                      softcap: float | None = None, s_aux: Tensor | None = None,
                      **_: object) -> tuple[Tensor, None]:
    """The attention of one row of tokens; query [1, heads, tokens, dim], keys and values alike."""
    if softcap is not None or s_aux is not None:
        raise ModelError("OpenVINO's paged attention has no soft cap and no sinks; set "
                         "sampling.engine=own")
    return _attention_place(query, key, value, scaling, sliding_window or 0), None


AttentionInterface.register("openvino", _marked_attention)


class _Mark(NamedTuple):
    """A node whose inputs are queries, keys and values of one layer, and what its attention is."""

    node: Any
    scaling: float
    window: int  # 0: none
    heads: int  # of keys and values
    key_dim: int
    value_dim: int


class _Logits(nn.Module):
    """Logits at some rows of one sequence of tokens, float32 [rows, vocabulary]."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, position_ids: Tensor, rows: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, position_ids=position_ids, use_cache=False,
                          logits_to_keep=rows).logits[0].float()


def _converted(model: PreTrainedModel) -> Any:
    """The model as an OpenVINO model with paged attention."""
    import openvino as ov
    import openvino.opset13 as opset
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch import ConversionExtension
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    marks: list[_Mark] = []

    def mark(context: Any) -> list[Any]:
        """Keep the three inputs together: a parameter may not enter while the model converts."""
        heads, kv_heads, dim, value_dim = _sizes[len(marks)]
        widths = heads * dim, kv_heads * dim, kv_heads * value_dim
        node = opset.concat([_flat(context.get_input(number), width)
                             for number, width in enumerate(widths)], 1)
        scaling, window = (context.get_values_from_const_input(number) for number in (3, 4))
        marks.append(_Mark(node, float(scaling), int(window), kv_heads, dim, value_dim))
        return [opset.reshape(node, [1, -1, heads, value_dim], False).output(0)]

    before = without_adapter(model).config._attn_implementation
    model.set_attn_implementation("openvino")
    _sizes.clear()
    example = {"input_ids": torch.zeros(1, 3, dtype=torch.long),
               "position_ids": torch.arange(3)[None], "rows": torch.tensor([1, 2])}
    try:
        with torch.inference_mode(False), torch.no_grad():
            # Not by `openvino.convert_model`: it tells its makers about each use.
            frontend = FrontEndManager().load_by_framework("pytorch")
            frontend.add_extension(ConversionExtension("study::attention_place", mark))
            traced = TorchScriptPythonDecoder(_Logits(model).eval(), example_input=example,
                                              trace_kwargs={"check_trace": False})
            loaded = frontend.load(traced)
            for place, value in zip(loaded.get_inputs(), example.values(), strict=True):
                loaded.set_partial_shape(place, ov.PartialShape([-1] * value.ndim))
                loaded.set_element_type(place, ov.Type.i64)
            converted = frontend.convert(loaded)
    finally:
        model.set_attn_implementation(before)
    _page_attention(converted, marks)
    return converted


def _flat(part: Any, width: int) -> Any:
    """Queries, keys or values [1, heads, tokens, dim] as [tokens, heads * dim]."""
    import openvino.opset13 as opset
    return opset.reshape(opset.transpose(part, [0, 2, 1, 3]), [-1, width], False)


def _page_attention(converted: Any, marks: Sequence[_Mark]) -> None:
    """Put paged attention at each mark, and its inputs among the model's."""
    import openvino as ov
    shared = [_parameter(name, [-1], ov.Type.i32) for name in PAGE_INPUTS]
    longest = _parameter("max_context_len", [], ov.Type.i32)
    caches = []
    for number, mark in enumerate(marks):
        pages = [_parameter(f"{kind}_cache.{number}", [-1] * 4, ov.Type.dynamic)
                 for kind in ("key", "value")]
        caches += pages
        parts = [mark.node.input_value(part) for part in range(3)]
        inputs = [x.output(0) for x in (*pages, *shared)]
        attention = _paged_attention([*parts, *inputs], longest.output(0), mark)
        mark.node.output(0).replace(attention.output(0))
    converted.add_parameters([*shared, longest, *caches])
    converted.validate_nodes_and_infer_types()


def _parameter(name: str, shape: Sequence[int], kind: Any) -> Any:
    import openvino as ov
    parameter = ov.opset13.parameter(ov.PartialShape(list(shape)), kind, name=name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _paged_attention(inputs: Sequence[Any], longest: Any, mark: _Mark) -> Any:
    """OpenVINO 2026.4's operation: 28 inputs, of which those that thin out the cache are empty."""
    import openvino as ov
    from openvino.op import _PagedAttentionExtension

    def constant(value: object, kind: type = np.int32) -> Any:
        return ov.opset13.constant(np.array(value, kind)).output(0)
    none, zero, no_reals = constant([]), constant(0), constant([], np.float32)
    attention = _PagedAttentionExtension([
        *inputs, constant(mark.scaling, np.float32), constant(mark.window), no_reals, longest,
        none,  # scores that are summed
        none, none, no_reals,  # rotated pages
        no_reals, zero, zero,  # sparse attention
        no_reals,  # sinks
        zero, none, none, none,  # evicted pages
        none, constant([], np.uint8), none])  # kinds of tokens, biases
    info = attention.get_rt_info()
    info["num_k_heads"] = info["num_v_heads"] = mark.heads
    info["k_head_size"], info["v_head_size"] = mark.key_dim, mark.value_dim
    return attention


def _compiled(converted: Any, precision: str) -> Any:
    import openvino as ov
    return ov.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"})
