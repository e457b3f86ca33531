"""What `/ssl` does: one async function for each subcommand, typed arguments in, a `Message` out.

The modules are imported in the order of the help: what looks, then what acts.
"""

from __future__ import annotations

# isort: off
from bot.commands import look as look, change as change, warning as warning
from bot.commands import watching as watching, beyond as beyond, about as about

# isort: on
from bot.commands.base import router

__all__ = ["router"]
