"""What the bot saw of a monitor, to compare the next scan with. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import msgspec

from bot.api.models import Monitor, MonitorSummary, Name


class Sighting(msgspec.Struct, frozen=True):
    """What the bot saw of a monitor at one moment; it is stored as JSON."""

    valid: bool | None
    not_after: datetime | None
    issuer: str
    names: tuple[str, ...]
    http_code: int | None

    @classmethod
    def of(cls, found: Monitor, row: MonitorSummary | None = None) -> Self:
        """From monitor/get (or scan); only the monitor's row of monitor/list tells the verdict."""
        certificate = found.certificate
        issuer = certificate.issuer if certificate else Name()
        return cls(
            valid=row.valid if row else None,
            not_after=certificate.not_after if certificate else None,
            issuer=issuer.cn or issuer.o,
            names=tuple(sorted(certificate.alt_names)) if certificate else (),
            http_code=found.http.code,
        )

    def renewed_since(self, before: Sighting) -> bool:
        """Whether another certificate is there: its end date, issuer or names differ."""
        if self.not_after is None:
            return False
        mine = (self.not_after, self.issuer, self.names)
        return mine != (before.not_after, before.issuer, before.names)
