"""Turns interactions into rows of the archive. No I/O."""

from datetime import datetime
from textwrap import shorten
from typing import NamedTuple
from uuid import UUID

from infra.postgres.columns import array_text, json_text, storable
from schemas.interactions import Interaction

TITLE_LIMIT = 80
"""Characters of a conversation's title."""


class ConversationRow(NamedTuple):
    """One interaction's view of its conversation; the store folds them."""

    workspace: str
    conversation_id: UUID
    title: str
    asked_at: datetime
    answered_at: datetime


class InteractionRow(NamedTuple):
    """A finished question and answer."""

    request_id: UUID
    workspace: str
    conversation_id: UUID
    question: str
    answer: str
    citations: str
    passages: str
    """An array literal of Postgres."""
    abstained: bool
    index_id: str
    model: str
    served_by: str
    prompt_tokens: int
    completion_tokens: int
    error: str | None
    asked_at: datetime
    answered_at: datetime
    degraded: bool
    adapter: str
    request_place: str
    prompt_place: str
    retrieved: str
    parameters: str
    parts: str


def title_of(question: str) -> str:
    """Return a conversation's title: its first question on one line, cut at a word to `TITLE_LIMIT` characters."""
    line = storable(" ".join(question.split()))
    # shorten() drops a first word that is too long altogether: such a question is cut inside the word.
    return shorten(line, TITLE_LIMIT, placeholder="…").removeprefix("…") or line[:TITLE_LIMIT]


def conversation_row(interaction: Interaction) -> ConversationRow:
    """Return what the interaction tells of its conversation."""
    return ConversationRow(
        interaction.workspace,
        interaction.conversation_id,
        title_of(interaction.question.content),
        interaction.asked_at,
        interaction.answered_at,
    )


def interaction_row(interaction: Interaction) -> InteractionRow:
    """Return the row of an interaction."""
    return InteractionRow(
        interaction.request_id,
        interaction.workspace,
        interaction.conversation_id,
        storable(interaction.question.content),
        storable(interaction.answer),
        json_text([citation.model_dump(mode="json") for citation in interaction.citations]),
        array_text(interaction.passages),
        interaction.abstained,
        storable(interaction.index_id),
        storable(interaction.model),
        storable(interaction.served_by),
        interaction.usage.prompt_tokens,
        interaction.usage.completion_tokens,
        json_text(interaction.error.model_dump()) if interaction.error else None,
        interaction.asked_at,
        interaction.answered_at,
        interaction.degraded,
        storable(interaction.adapter),
        storable(interaction.request_at),
        storable(interaction.prompt_at),
        json_text([chunk.model_dump(mode="json") for chunk in interaction.chunks]),
        json_text(interaction.parameters.model_dump(mode="json") if interaction.parameters else {}),
        json_text(interaction.parts.model_dump(mode="json") if interaction.parts else {}),
    )
