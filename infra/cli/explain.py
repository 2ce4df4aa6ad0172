"""`millrace explain`: what an answer was made of, and whether it would be given again. Sees all workspaces."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from infra.cli.comparing import answers, retrieved, sampled
from infra.cli.operating import SOURCE, open_database, open_log
from infra.cli.terminal import AsJson, CommandError, Status, command, out, plain, print_json

if TYPE_CHECKING:
    from infra.postgres.explanations import Explanation

_COMPLETION = "chatcmpl-"
_TEXTS = ("question", "answer", "citations", "retrieved", "parameters", "parts", "error")


@command
async def explain(
    request: Annotated[str, typer.Argument(help="Id of the request, as in `request_id` or behind `chatcmpl-`.")],
    *,
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="Only if it is of this workspace.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Run the stored prompt again and compare.")] = False,
    within: Annotated[float, typer.Option(min=1, max=600, help="Seconds that a replay may take.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Show what an answer was made of; with --replay run its stored prompt again and show what differs."""
    from infra.postgres.explanations import explanation_of

    request_id = _id(request)
    async with open_database() as pool:
        found = await explanation_of(pool, request_id, workspace)
    if found is None:
        message = f"the archive has no answer to {request_id}"
        raise CommandError(
            Status.FAILED, message, "only chats are archived, once they are answered", "request_not_found"
        )
    compared = await _replayed(found, within) if replay else None
    if as_json:
        print_json({**asdict(found), **({"replay": compared} if compared else {})})
        return
    _print(found)
    if compared:
        _print_replay(compared)


def _id(text: str) -> UUID:
    try:
        return UUID(text.removeprefix(_COMPLETION))
    except ValueError as error:
        raise CommandError(Status.USAGE, f"{text!r} is no id of a request") from error


async def _replayed(found: "Explanation", timeout_s: float) -> dict[str, Any]:
    from infra.kafka.redrive import GoneError
    from infra.kafka.replaying import Replaying, stored_prompt
    from topics.catalogue import CHAT_PROMPTS

    if not found.prompt_place:
        message = "no prompt is known of this question: it ended before one was made, or is from before they were kept"
        raise CommandError(Status.FAILED, message, code="no_prompt")
    async with open_log() as log:
        try:
            prompt = await stored_prompt(log.records, log.objects, found.prompt_place)
        except GoneError as error:
            message = f"the log no longer holds the prompt: {error}"
            next_step = f"prompts are kept for {CHAT_PROMPTS.retention}" if CHAT_PROMPTS.retention else ""
            raise CommandError(Status.FAILED, message, next_step, "prompt_gone") from error
        if (prompt.workspace, prompt.request.request_id) != (found.workspace, found.request_id):
            message = f"another prompt stands at {found.prompt_place}: the topic was made anew since"
            raise CommandError(Status.FAILED, message, code="prompt_gone")
        async with Replaying.open(log.settings.bootstrap, log.publisher, log.objects, SOURCE, timeout_s) as replaying:
            reply = await replaying.answer(prompt)
            search = await replaying.found(prompt) if prompt.request.retrieve else None
    return {
        "request_id": reply.request_id,
        "answer": answers(found.answer, reply) | {"sampled": sampled(found.parameters)},
        "retrieved": None if search is None else retrieved(found.workspace, found.retrieved, search.passages),
        "search_error": search.error.model_dump() if search and search.error else None,
    }


def _print(found: "Explanation") -> None:
    for name, value in asdict(found).items():
        if name not in _TEXTS:
            plain(f"{name:<26}{value}")
    for name in ("parameters", "parts"):
        for key, value in getattr(found, name).items():
            plain(f"{f'{name}.{key}':<26}{value}")
    plain("")
    plain(found.question, style="bold")
    plain(f"no answer: {found.error['detail']}" if found.error else found.answer)
    plain("")
    for chunk in found.retrieved:
        place = f"{chunk['document_id']} version {chunk['version']}  {chunk['start']}-{chunk['end']}"
        plain(f"[{chunk['number']}] {place}  score {chunk['score']:.3f}  chunk {chunk['chunk_id']}", style="dim")


def _print_replay(compared: dict[str, Any]) -> None:
    answer = compared["answer"]
    plain("")
    out.print(f"replay {compared['request_id']}", style="bold", markup=False)
    if answer["error"]:
        plain(f"no answer now: {answer['error']['code']}: {answer['error']['detail']}")
    else:
        plain(f"answered by {answer['served_by']} {answer['model']}".rstrip())
        other = "another answer, as is to be expected of one sampled without a seed:" if answer["sampled"] else ""
        plain("the same answer" if answer["same"] else other or "another answer:")
        for line in answer["diff"]:
            plain(line, style={"+": "green", "-": "red"}.get(line[:1], ""))
    if compared["search_error"]:
        plain(f"the search fails now: {compared['search_error']['detail']}")
    elif compared["retrieved"] is not None:
        changes = [each for each in compared["retrieved"] if each["change"] != "same"]
        plain("the same chunks are found" if not changes else "what is found differs:")
        for each in changes:
            numbers = f"{each['then'] or '-'} -> {each['now'] or '-'}"
            versions = f"version {each['version_then'] or '-'} -> {each['version_now'] or '-'}"
            plain(f"  {each['change']:<8}{numbers:<10}{versions}  document {each['document_id']}")
