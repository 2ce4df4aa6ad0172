"""States of documents and what stands in what."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0007_states.sql")


def upgrade() -> None:
    """Keep states in table `published`, and table `contents`."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: the standing of shifted versions cannot be told from their numbers."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
