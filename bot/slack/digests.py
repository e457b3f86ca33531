"""The digests of all channels, each of which is set up by the environment or by people."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bot.digest import Digest, Plan
from bot.store.monitors import Records

log = logging.getLogger(__name__)


class Digests:
    """The digests of all channels; `first` is the environment's, which has been started."""

    def __init__(
        self, first: Digest | None, records: Records, make: Callable[[Plan], Digest]
    ) -> None:
        self._records = records
        self._make = make
        self._kept = {first.plan.channel: first} if first else {}
        self._started = set(self._kept)

    def current(self) -> list[Digest]:
        """One for each channel that is to get one, whether it is paused or not."""
        current = []
        for each in self._records.subscriptions.digests():
            digest = self._kept.get(each.channel)
            if digest is None:
                digest = self._kept[each.channel] = self._make(Plan.of(each))
            digest.plan = Plan.of(each)
            current.append(digest)
        return current

    async def tick(self, *, ready: bool = True) -> None:
        """Post those that are due; one that fails does not keep the others back."""
        for digest in self.current():
            try:
                if digest.plan.channel not in self._started:
                    await digest.start()
                    self._started.add(digest.plan.channel)
                await digest.tick(ready=ready)
            except Exception:
                log.exception("The digest of %s failed", digest.plan.channel)

    def lag(self) -> float:
        """For how many seconds the latest of today's digests has been due."""
        return max((digest.lag() for digest in self.current()), default=0.0)

    @property
    def last_error(self) -> str:
        """Why digests could not be posted, empty if they could."""
        return " ".join(filter(None, (digest.last_error for digest in self.current())))
