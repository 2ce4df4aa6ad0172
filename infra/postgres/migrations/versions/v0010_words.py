"""Conversations that are found in every script, and without accents."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0010_words.sql")


def upgrade() -> None:
    """Make the words anew."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: migrations only go forward."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
