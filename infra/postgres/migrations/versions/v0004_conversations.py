"""Conversations that can be found, named, put away and deleted; answers that can be explained."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0004_conversations.sql")


def upgrade() -> None:
    """Add the columns and the indexes."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: without the tombstones deleted conversations would come back with a replay."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
