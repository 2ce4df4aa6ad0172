"""The graph against BERT written out in numpy, on small random weights."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from infra.models.bert import build, read_folder
from infra.models.encoder import EncoderError
from infra.models.runtime import ov

LAYERS, HEADS, WIDTH, INNER, WORDS, LENGTH = 2, 2, 8, 16, 30, 12
CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_size": WIDTH,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "max_position_embeddings": LENGTH,
}
Weights = dict[str, Any]


def random_weights() -> Weights:
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (LENGTH, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name, rows, columns in (
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH),
            ("output.dense", WIDTH, INNER),
        ):
            shapes[f"{at}{name}.weight"] = (rows, columns)
            shapes[f"{at}{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{at}{name}.weight"] = shapes[f"{at}{name}.bias"] = (WIDTH,)
    random = np.random.default_rng(7)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_folder(path: Path, weights: Weights, *, pooling: str = "mean_tokens", **changes: object) -> Path:
    (path / "1_Pooling").mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (path / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    (path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Transformer"}]))
    save_file(weights, path / "model.safetensors")
    return path


def reference(weights: Weights, ids: list[int], pooling: str) -> Any:
    """BERT on one text without padding (Devlin et al. 2019; Hendrycks and Gimpel 2016 for GELU), in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def norm(x: Any, name: str) -> Any:
        spread = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    gelu = np.vectorize(lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))))
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        q, k, v = (linear(x, f"{at}attention.self.{name}") for name in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(WIDTH // HEADS))
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        x = norm(
            x + linear(np.concatenate(heads, -1), f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm"
        )
        x = norm(x + linear(gelu(linear(x, f"{at}intermediate.dense")), f"{at}output.dense"), f"{at}output.LayerNorm")
    pooled = x[0] if pooling == "cls_token" else x.mean(0)
    return pooled / np.linalg.norm(pooled)


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_the_graph_is_bert(tmp_path: Path, pooling: str) -> None:
    weights = random_weights()
    folder = read_folder(write_folder(tmp_path / "model", weights, pooling=pooling))
    compiled = ov.Core().compile_model(build(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    texts = [[1, 5, 9, 2], [1, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 29]]
    ids = np.zeros((3, LENGTH), dtype=np.int32)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    # Whatever stands in the padding must not matter.
    ids[mask == 0] = 17
    vectors = compiled([ids, mask])[0]
    for row, text in enumerate(texts):
        assert np.allclose(vectors[row], reference(weights, text, pooling), atol=2e-5)


def test_weights_of_half_precision_and_with_a_prefix_are_read(tmp_path: Path) -> None:
    weights = random_weights()
    half = {f"bert.{name}": value.astype(np.float16) for name, value in weights.items()}
    folder = read_folder(write_folder(tmp_path / "model", half))
    compiled = ov.Core().compile_model(build(folder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    vector = compiled([np.array([[1, 5, 2]], np.int32), np.ones((1, 3), np.int32)])[0][0]
    assert vector @ reference(weights, [1, 5, 2], "mean_tokens") > 0.999


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "xlm-roberta"}, "xlm-roberta"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_act": "swish"}, "swish"),
    ],
)
def test_a_model_that_it_cannot_build_is_named_with_the_way_out(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    path = write_folder(tmp_path / "model", random_weights(), **changes)
    with pytest.raises(EncoderError, match=f"{named}.*MILLRACE_ENCODER=openai"):
        read_folder(path)


def test_another_pooling_or_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="max_tokens"):
        read_folder(write_folder(tmp_path / "max", random_weights(), pooling="max_tokens"))
    path = write_folder(tmp_path / "dense", random_weights())
    (path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(EncoderError, match="Dense"):
        read_folder(path)


def test_limits_and_prompts_come_from_the_folder(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "model", random_weights())
    assert read_folder(path).max_tokens == LENGTH
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    (path / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "query: ", "passage": "passage: "}})
    )
    folder = read_folder(path)
    assert folder.max_tokens == 6
    assert folder.prompts == {"query": "query: ", "document": "passage: "}


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"config\.json is missing"):
        read_folder(tmp_path)
    path = write_folder(tmp_path / "model", random_weights())
    (path / "modules.json").write_text("{")
    with pytest.raises(EncoderError, match=r"modules\.json is not JSON"):
        read_folder(path)


def test_broken_weights_are_named(tmp_path: Path) -> None:
    weights = random_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(EncoderError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build(read_folder(write_folder(tmp_path / "lacking", weights)))
    path = write_folder(tmp_path / "cut", random_weights())
    (path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(EncoderError, match="unreadable weights"):
        build(read_folder(path))
