"""A BERT text encoder as an OpenVINO graph, built from a sentence-transformers folder without torch.

The folder holds `config.json`, `model.safetensors`, `tokenizer.json`, `modules.json` and `1_Pooling/config.json`. The
graph is BERT's encoder (Devlin et al. 2019, as in Hugging Face's `BertModel`), pooling, and scaling to unit length;
for all-MiniLM-L6-v2 it equals sentence-transformers on torch to 1e-6.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from infra.models.encoder import EncoderError
from infra.models.runtime import op, ov

Pooling = Literal["mean", "cls"]
Node = Any
"""A node of an OpenVINO graph; the library ships no types."""
Model = Any
"""An OpenVINO model."""
DEFAULT_MAX_TOKENS = 256
"""all-MiniLM-L6-v2 was trained on 128 and is served at 256 (its `sentence_bert_config.json`)."""
MASKED = -1e9
"""Added to the attention score of padding: exp() of it is 0 in float32."""

_ACTIVATIONS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_MODULES = {"Transformer", "Pooling", "Normalize"}


@dataclass(frozen=True, slots=True)
class BertFolder:
    """What a folder says of its model."""

    path: Path
    layers: int
    heads: int
    dimension: int
    epsilon: float
    gelu: str
    pooling: Pooling
    max_tokens: int
    prompts: Mapping[str, str]
    """Text to put before a `query` or a `document`; empty for most models."""


def read_folder(path: Path) -> BertFolder:
    """Read a model folder. Raises EncoderError where a file is missing or the model is of a kind not built here."""
    config = _json(path / "config.json")
    _require(path, config.get("model_type"), "model_type", {"bert"})
    _require(path, config.get("position_embedding_type", "absolute"), "position_embedding_type", {"absolute"})
    _require(path, config.get("hidden_act"), "hidden_act", set(_ACTIVATIONS))
    for module in _json(path / "modules.json"):
        _require(path, str(module["type"]).rsplit(".", 1)[-1], "module", _MODULES)
    limits = _json(path / "sentence_bert_config.json") if (path / "sentence_bert_config.json").exists() else {}
    extras = path / "config_sentence_transformers.json"
    prompts = (_json(extras).get("prompts") or {}) if extras.exists() else {}
    return BertFolder(
        path=path,
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        dimension=config["hidden_size"],
        epsilon=config["layer_norm_eps"],
        gelu=_ACTIVATIONS[config["hidden_act"]],
        pooling=_pooling(path),
        max_tokens=min(limits.get("max_seq_length") or DEFAULT_MAX_TOKENS, config["max_position_embeddings"]),
        prompts={"query": prompts.get("query", ""), "document": prompts.get("document", prompts.get("passage", ""))},
    )


def _pooling(path: Path) -> Pooling:
    config = _json(path / "1_Pooling" / "config.json")
    chosen = {name for name, on in config.items() if name.startswith("pooling_mode_") and on}
    if chosen == {"pooling_mode_mean_tokens"}:
        return "mean"
    if chosen == {"pooling_mode_cls_token"}:
        return "cls"
    raise EncoderError(f"{path}: pooling {sorted(chosen)} is not supported; use a model that pools by mean or CLS")


def _require(path: Path, value: object, name: str, allowed: set[str]) -> None:
    if value not in allowed:
        raise EncoderError(
            f"{path}: {name} is {value!r}, the built-in encoder knows {sorted(allowed)}; serve this model behind "
            "/v1/embeddings (MILLRACE_ENCODER=openai:URL#MODEL) or install the extra `gpu`"
        )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EncoderError(f"{path} is missing: not a sentence-transformers folder with safetensors weights") from error
    except ValueError as error:
        raise EncoderError(f"{path} is not JSON: {error}") from error


class _Weights:
    """Tensors of the file by name, float32, copied out of the mapped file one at a time."""

    def __init__(self, path: Path) -> None:
        try:
            # Any: the library's methods have no annotations.
            file: Any = safe_open(path, framework="numpy")
            self._file = file
            self._names = {name.removeprefix("bert."): name for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"{path}: unreadable weights: {error}") from error

    def array(self, name: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
        try:
            return np.ascontiguousarray(self._file.get_tensor(self._names[name]), dtype=np.float32)
        except (KeyError, TypeError, SafetensorError) as error:
            raise EncoderError(f"weights lack a readable tensor {name} (float32 or float16): {error}") from error

    def constant(self, name: str) -> Node:
        return op.constant(self.array(name), dtype=np.float32)


def build(folder: BertFolder) -> Model:
    """Return the graph: int32 `input_ids` and `attention_mask` [n, length] in, float32 [n, dimension] unit rows out."""
    weights = _Weights(folder.path / "model.safetensors")
    ids = op.parameter([-1, -1], np.int32, name="input_ids")
    mask = op.parameter([-1, -1], np.int32, name="attention_mask")
    keep = op.convert(mask, np.float32)
    bias = op.multiply(op.subtract(_number(1.0), op.unsqueeze(keep, _axes(1, 2))), _number(MASKED))
    hidden = _embed(weights, folder, ids)
    for layer in range(folder.layers):
        hidden = _layer(weights, folder, f"encoder.layer.{layer}.", hidden, bias)
    vectors = op.normalize_l2(_pool(folder, hidden, keep), _axes(1), 1e-12, "max")
    return ov.Model([op.result(vectors)], [ids, mask], "bert_encoder")


def _number(value: float) -> Node:
    return op.constant(np.float32(value))


def _axes(*axes: int) -> Node:
    return op.constant(np.array(axes, dtype=np.int64))


def _embed(weights: _Weights, folder: BertFolder, ids: Node) -> Node:
    words = op.gather(weights.constant("embeddings.word_embeddings.weight"), ids, op.constant(np.int64(0)))
    length = op.gather(op.shape_of(ids), _axes(1), op.constant(np.int64(0)))
    positions = op.slice(
        weights.constant("embeddings.position_embeddings.weight"), _axes(0), length, _axes(1), _axes(0)
    )
    # One text per row: every token is of type 0.
    kind = op.constant(weights.array("embeddings.token_type_embeddings.weight")[0])
    return _norm(weights, folder, "embeddings.LayerNorm", op.add(words, op.add(positions, kind)))


def _norm(weights: _Weights, folder: BertFolder, name: str, value: Node) -> Node:
    spread = op.mvn(value, _axes(-1), True, folder.epsilon, "inside_sqrt")
    return op.add(op.multiply(spread, weights.constant(f"{name}.weight")), weights.constant(f"{name}.bias"))


def _linear(weights: _Weights, name: str, value: Node) -> Node:
    product = op.matmul(value, weights.constant(f"{name}.weight"), False, True)
    return op.add(product, weights.constant(f"{name}.bias"))


def _layer(weights: _Weights, folder: BertFolder, prefix: str, hidden: Node, bias: Node) -> Node:
    def heads(name: str) -> Node:
        shape = op.constant(np.array([0, 0, folder.heads, folder.dimension // folder.heads], dtype=np.int64))
        value = _linear(weights, f"{prefix}attention.self.{name}", hidden)
        return op.transpose(op.reshape(value, shape, True), _axes(0, 2, 1, 3))

    attended = op.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), bias)
    flat = op.constant(np.array([0, 0, folder.dimension], dtype=np.int64))
    joined = op.reshape(op.transpose(attended, _axes(0, 2, 1, 3)), flat, True)
    output = _linear(weights, f"{prefix}attention.output.dense", joined)
    hidden = _norm(weights, folder, f"{prefix}attention.output.LayerNorm", op.add(output, hidden))
    inner = op.gelu(_linear(weights, f"{prefix}intermediate.dense", hidden), folder.gelu)
    outer = _linear(weights, f"{prefix}output.dense", inner)
    return _norm(weights, folder, f"{prefix}output.LayerNorm", op.add(outer, hidden))


def _pool(folder: BertFolder, hidden: Node, keep: Node) -> Node:
    if folder.pooling == "cls":
        return op.gather(hidden, op.constant(np.int64(0)), op.constant(np.int64(1)))
    weighted = op.multiply(hidden, op.unsqueeze(keep, _axes(2)))
    total = op.reduce_sum(weighted, _axes(1), False)
    count = op.maximum(op.reduce_sum(keep, _axes(1), True), _number(1e-9))
    return op.divide(total, count)
