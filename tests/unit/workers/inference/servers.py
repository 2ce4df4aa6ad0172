"""Model servers of the protocol's shape that answer in this process, and routing files that name them."""

import json

import httpx


def defined(rest: bytes) -> bytes:
    """Return a routing file with a backend `coder`."""
    return b"backends: {coder: {url: 'http://coder:8000'}}\n" + rest


class ModelServer(httpx.AsyncBaseTransport):
    """Answers completions with the model that was asked for, and remembers what it was asked."""

    def __init__(self, *models: str, down: bool = False) -> None:
        self.models = models
        self.down = down
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the protocol says."""
        if self.down:
            raise httpx.ConnectError("down")
        if request.url.path.endswith("/models"):
            return httpx.Response(200, json={"data": [{"id": model} for model in self.models]})
        body = json.loads(await request.aread())
        self.asked.append(body["model"])
        answer = {"message": {"content": f"{body['model']} says [1]."}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [answer], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
