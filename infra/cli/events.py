"""`millrace events`: where is my event?"""

import asyncio
from typing import Annotated, Any

import typer

from infra.cli.gateway import Gateway, open_gateway
from infra.cli.terminal import AsJson, CommandError, Status, command, plain, print_json

SETTLED = frozenset({"complete", "not_a_document", "dead_lettered"})
"""States that an event does not leave by itself."""

EVERY_SECONDS = 0.25


@command
async def events(
    event_id: Annotated[str, typer.Argument(help="The id that the gateway answered.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until the event is settled.")] = False,
    within: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to follow at most.")] = 300,
    as_json: AsJson = False,
) -> Status:
    """Show how far an event has got. Status 1 if it is dead-lettered."""
    async with open_gateway() as gateway:
        event = await _follow(gateway, event_id, within, as_json) if follow else await read(gateway, event_id)
    if as_json:
        print_json(event)
    else:
        _print(event)
    return Status.FAILED if event["state"] == "dead_lettered" else Status.OK


async def read(gateway: Gateway, event_id: str) -> dict[str, Any]:
    """Return the ledger's account of one event."""
    event: dict[str, Any] = await gateway.get(f"/v1/events/{event_id}")
    return event


async def _follow(gateway: Gateway, event_id: str, within: float, as_json: bool) -> dict[str, Any]:
    state = ""
    try:
        async with asyncio.timeout(within):
            while True:
                event = await read(gateway, event_id)
                if event["state"] != state and not as_json:
                    plain(event["state"])
                state = event["state"]
                if state in SETTLED:
                    return event
                await asyncio.sleep(EVERY_SECONDS)
    except TimeoutError as error:
        message = f"event {event_id} is still {state or 'unknown'} after {within:.0f} s"
        raise CommandError(Status.FAILED, message, "see `millrace status` and `millrace logs`") from error


def _print(event: dict[str, Any]) -> None:
    plain(f"{event['event_id']}  {event['state']}", style="bold")
    plain(f"source {event['source']} ({event['connector']}), accepted {event['accepted_at']}")
    for stage in event.get("stages", []):
        plain(f"  {stage['at']}  {stage['stage']}  {stage.get('detail') or ''}".rstrip())
    for document in event.get("documents", []):
        plain(f"  document {document['document_id']}  version {document['version']}  {document['operation']}")
    for letter in event.get("dead_letters", []):
        plain(f"  dead letter: {letter['reason']}: {letter.get('detail', '')}", style="red")
        plain(f"    letter {letter['letter_id']}  {letter['state']}, of {letter['worker']}")
