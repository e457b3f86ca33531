"""The subcommands of `/ssl`: one async function each, typed arguments in, a `Message` out.

The modules are imported in the order of the help.
"""

# isort: off
from bot.commands import show as show, add as add, change as change, thresholds as thresholds
from bot.commands import acting as acting, subscriptions as subscriptions
from bot.commands import recheck as recheck, extras as extras, about as about

# isort: on
from bot.commands.lookup import router

__all__ = ["router"]
