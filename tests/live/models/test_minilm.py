"""The default encoder with its real weights: properties that a wrong graph, tokenizer or batch would break."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from infra.local.artifacts import model_folder
from infra.models import openvino
from infra.models.encoder import Encoder, EncoderError
from infra.models.opening import MINILM, open_encoder
from infra.models.openvino import OpenVinoEncoder
from infra.models.settings import EncoderSettings
from tests.eventually import lapse

PARAGRAPH = "When the leader of a partition dies, the controller elects a follower that is in sync with it. "
MIXED = ["x", "", PARAGRAPH, PARAGRAPH * 3, "A short one.", PARAGRAPH * 40, "émigré naïve 東京 😀", "\n\n\t "]


async def test_it_says_what_it_is(minilm: Encoder) -> None:
    assert (minilm.model_id, minilm.dimension, minilm.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)


async def test_published_similarities_are_met(minilm: Encoder) -> None:
    # The model card's example and its scores, as sentence-transformers computes them on torch.
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = await minilm.encode_documents(texts)
    assert vectors[0] @ vectors[1:].T == pytest.approx([0.695, 0.943, 0.257], abs=0.002)


async def test_meaning_beats_shared_words(minilm: Encoder) -> None:
    query = await minilm.encode_query("How do I bake bread?")
    near, far = await minilm.encode_documents(
        ["Knead the dough, let it rise and put the loaf into the oven.", "How do I sharpen a knife?"]
    )
    assert query @ near > query @ far + 0.2


async def test_a_batch_gives_what_single_texts_give(minilm: Encoder) -> None:
    together = await minilm.encode_documents(MIXED)
    alone = np.stack([(await minilm.encode_documents([text]))[0] for text in MIXED])
    queries = np.stack([await minilm.encode_query(text) for text in MIXED])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - queries).max() < 1e-5


async def test_the_order_of_texts_does_not_matter(minilm: Encoder) -> None:
    forward = await minilm.encode_documents(MIXED)
    backward = await minilm.encode_documents(MIXED[::-1])
    assert np.abs(forward - backward[::-1]).max() < 1e-5


async def test_a_second_instance_gives_the_same_bytes(minilm: Encoder) -> None:
    again = OpenVinoEncoder.open(model_folder(MINILM), MINILM)
    try:
        assert (await again.encode_documents(MIXED) == await minilm.encode_documents(MIXED)).all()
    finally:
        await again.close()


async def test_what_lies_beyond_256_tokens_changes_nothing(minilm: Encoder) -> None:
    head = PARAGRAPH * 20
    cut, longer = await minilm.encode_documents([head, head + "Bread is baked from flour and water. " * 20])
    assert np.abs(cut - longer).max() < 1e-5
    inside, changed = await minilm.encode_documents([PARAGRAPH * 5, PARAGRAPH * 5 + "Bread is baked from flour. "])
    assert np.abs(inside - changed).max() > 1e-3


async def test_the_tokens_that_are_read_are_counted(minilm: Encoder) -> None:
    # With the two that begin and end each text.
    assert await minilm.count_tokens(["happy person"]) == 4
    assert await minilm.count_tokens(["happy person", "mill " * 1_000]) == 4 + 256


async def test_the_loop_stays_awake_and_a_question_does_not_wait_for_documents(minilm: Encoder) -> None:
    await minilm.encode_query("warm")
    ingest = asyncio.create_task(minilm.encode_documents([f"{number} {PARAGRAPH * 10}" for number in range(150)]))
    asked = 0
    while not ingest.done():
        await lapse(0.005)
        await minilm.encode_query("does this wait for the documents?")
        asked += 1
    await ingest
    # On a loop that is held the documents are done before the first question is asked.
    assert asked >= 5


async def test_questions_asked_at_once_have_the_vectors_that_they_have_alone(minilm: Encoder) -> None:
    alone = [await minilm.encode_query(text) for text in MIXED]
    together = await asyncio.gather(*(minilm.encode_query(text) for text in MIXED * 3))
    assert np.abs(np.stack(together) - np.stack(alone * 3)).max() < 1e-5


async def test_what_is_prepared_need_not_be_loaded_at_the_first_question() -> None:
    encoder = OpenVinoEncoder.open(model_folder(MINILM), MINILM)
    try:
        assert not encoder._compiled
        await encoder.prepare()
        assert encoder._compiled
    finally:
        await encoder.close()


async def test_a_folder_is_an_encoder_named_by_its_weights(minilm: Encoder) -> None:
    path: Path = model_folder(MINILM)
    async with open_encoder(EncoderSettings(encoder=str(path))) as encoder:
        assert encoder.model_id == "all-MiniLM-L6-v2@53aa51172d14"
        assert (await encoder.encode_query("x") == await minilm.encode_query("x")).all()


async def test_a_closed_encoder_stops(minilm: Encoder) -> None:
    encoder = OpenVinoEncoder.open(model_folder(MINILM), MINILM)
    work = asyncio.create_task(encoder.encode_documents([f"{number} {PARAGRAPH * 10}" for number in range(400)]))
    await lapse(0.5)
    await encoder.close()
    with pytest.raises(RuntimeError, match="closed"):
        await work


async def test_many_cores_give_the_same_vectors(minilm: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a large machine: a compiled model per use, several streams for documents.
    monkeypatch.setattr(openvino, "FEW_CORES", 0)
    wide = OpenVinoEncoder.open(model_folder(MINILM), MINILM, batch_tokens=300)
    try:
        assert np.abs(await wide.encode_documents(MIXED) - await minilm.encode_documents(MIXED)).max() < 1e-5
        assert np.abs(await wide.encode_query(MIXED[2]) - await minilm.encode_query(MIXED[2])).max() < 1e-5
    finally:
        await wide.close()


async def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    await asyncio.to_thread(shutil.copytree, model_folder(MINILM), folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"tokenizer\.json: unreadable"):
        OpenVinoEncoder.open(folder)
