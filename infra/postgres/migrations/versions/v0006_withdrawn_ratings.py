"""Ratings that stay withdrawn."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0006_withdrawn_ratings.sql")


def upgrade() -> None:
    """Let a rating be null."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: without the tombstones a rating that comes late would be kept."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
