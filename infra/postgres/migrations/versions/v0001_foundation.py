"""Configuration, inbox, ledger and archive."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = Path(__file__).with_name("0001_foundation.sql")


def upgrade() -> None:
    """Create every table. The file goes to the server whole: splitting at `;` would cut its comments apart."""
    sql = STATEMENTS.read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: dropping what operators configured is no step of an update."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
