"""How often two questions of different intents of CLINC150 count as one for earlier answers.

    MILLRACE_TEST_DATA=… python -m bench.near_questions

A lower bound of the error: two questions of one intent ("weather in Paris", "weather in Rome") may well want different
answers. What else must be the same (index, model, every cited passage) is not looked at here.
"""

import asyncio
import json
import os
from pathlib import Path

import numpy as np

from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from workers.inference.earlier import telling

BOUNDS = (0.85, 0.9, 0.95, 0.97)


async def main() -> None:
    """Print pairs, and those of different intents, by the bound."""
    data = Path(os.environ["MILLRACE_TEST_DATA"]) / "clinc150" / "data_full.json"
    said = json.loads(await asyncio.to_thread(data.read_text, encoding="utf-8"))["test"]
    texts = list(dict(said).items())
    async with open_encoder(EncoderSettings()) as encoder:
        rows = await encoder.encode_documents([text for text, _ in texts])
    intents = np.asarray([intent for _, intent in texts])
    told = [telling(text) for text, _ in texts]
    cosines = np.triu(rows @ rows.T, k=1)
    print(
        f"{len(texts)} questions\n| cosine at least | pairs | of two intents | … with the same numbers and negations |"
    )
    for bound in BOUNDS:
        pairs = np.argwhere(cosines >= bound)
        wrong = [pair for pair in pairs if intents[pair[0]] != intents[pair[1]]]
        left = [pair for pair in wrong if told[pair[0]] == told[pair[1]]]
        same = sum(told[one] == told[other] for one, other in pairs)
        print(f"| {bound} | {len(pairs)}, {same} of them with the same | {len(wrong)} | {len(left)} |")
        if bound >= 0.95:
            for one, other in left[:6]:
                print(f"    {texts[one][0]!r} / {texts[other][0]!r}")


if __name__ == "__main__":
    asyncio.run(main())
