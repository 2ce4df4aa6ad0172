"""Ratings of answers."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0005_feedback.sql")


def upgrade() -> None:
    """Create the table."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: dropping the table would lose what people said."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
