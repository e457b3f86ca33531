"""Tests of the bot, the playground and the embedded API."""

import sys

sys.dont_write_bytecode = False  # or each worker of each run would compile everything again
