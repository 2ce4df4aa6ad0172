"""Marks of dead letters, and the indexes that lists, redrives and lag read."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0002_letter_marks.sql")


def upgrade() -> None:
    """Create the table and the indexes."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: dropping what operators decided is no step of an update."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
