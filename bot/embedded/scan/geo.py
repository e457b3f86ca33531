"""Where an address is, looked up in a local database file."""

from pathlib import Path
from typing import Any

import maxminddb


class GeoDatabase:
    """A MaxMind DB of countries or cities, such as GeoLite2-City.mmdb.

    Raises ValueError with a sentence if the file is not a MaxMind database.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._reader = maxminddb.open_database(file)
        except (OSError, maxminddb.InvalidDatabaseError):
            raise ValueError(f"The file {file} is not a MaxMind database.") from None

    def __call__(self, address: str) -> str:
        """The country's code, with the region's if known (`US-CA`); empty if unknown."""
        try:
            record: Any = self._reader.get(address)
        except (ValueError, maxminddb.InvalidDatabaseError):  # no IPv6 in it, or damaged
            return ""
        if not isinstance(record, dict):
            return ""
        country = _code(record.get("country")) or _code(record.get("registered_country"))
        regions = record.get("subdivisions")
        region = _code(regions[0]) if isinstance(regions, list) and regions else ""
        return f"{country}-{region}" if country and region else country

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _code(place: Any) -> str:
    code = place.get("iso_code") if isinstance(place, dict) else None
    return code if isinstance(code, str) else ""
