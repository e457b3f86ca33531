"""Certificate authorities: trust anchors, and the information that CAs publish."""
