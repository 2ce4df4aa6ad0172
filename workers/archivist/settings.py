"""Settings of the archivist."""

from datetime import timedelta

from pydantic import Field

from infra.settings import Settings


class ArchivistSettings(Settings):
    """When a conversation is put away by itself."""

    after_days: float = Field(default=90, ge=0, alias="MILLRACE_ARCHIVE_AFTER_DAYS")
    """Days without a word after which a conversation is moved to the archive; 0 never does."""
    look_every_s: float = Field(default=3_600, gt=0, alias="MILLRACE_ARCHIVE_LOOK_EVERY_S")
    """How often idle conversations are looked for."""

    @property
    def after(self) -> timedelta | None:
        """How long a conversation may be idle; None for ever."""
        return timedelta(days=self.after_days) if self.after_days else None
