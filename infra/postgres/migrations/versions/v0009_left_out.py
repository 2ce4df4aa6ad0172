"""What of a text is not indexed."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0009_left_out.sql")


def upgrade() -> None:
    """Add the column."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: documents would no longer say what of them is not found."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
