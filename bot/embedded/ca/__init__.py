"""Certificate authorities: those that the operator trusts, and what only they know."""
