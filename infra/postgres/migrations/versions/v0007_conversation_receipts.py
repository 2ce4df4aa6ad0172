"""Receipts of conversations, apart from those of documents."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0007_conversation_receipts.sql")


def upgrade() -> None:
    """Make their table and move what there is into it."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: in one table they would be taken for documents again."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
