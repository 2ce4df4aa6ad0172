"""The gate in front of topic documents, filled from what the ledger knows, and what it held back of an event."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0003_published.sql")


def upgrade() -> None:
    """Create the table and the column."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: without the gate the log would end on old states again."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
