"""SSLmonitor's REST API: its client and what it returns."""
