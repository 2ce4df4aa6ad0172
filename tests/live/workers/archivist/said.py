"""Interactions and changes of one conversation."""

from datetime import timedelta
from uuid import UUID, uuid4

from schemas.chat import ChatMessage
from schemas.conversations import ConversationChange
from schemas.interactions import Interaction
from tests.events import AT

CONVERSATION = UUID(int=7)


def asked(workspace: str, question: str, after: int, **fields: object) -> Interaction:
    """A question asked `after` seconds into conversation 7, answered two seconds later."""
    values: dict[str, object] = {
        "workspace": workspace,
        "request_id": uuid4(),
        "conversation_id": CONVERSATION,
        "question": ChatMessage(role="user", content=question),
        "answer": f"To {question}",
        "asked_at": AT + timedelta(seconds=after),
        "answered_at": AT + timedelta(seconds=after + 2),
    }
    return Interaction.model_validate({**values, **fields})


def changed(workspace: str, after: int, **fields: object) -> ConversationChange:
    """A change of conversation 7, wanted `after` seconds into it."""
    values: dict[str, object] = {
        "workspace": workspace,
        "change_id": uuid4(),
        "conversation_id": CONVERSATION,
        "operation": "edit",
        "at": AT + timedelta(seconds=after),
    }
    return ConversationChange.model_validate({**values, **fields})
