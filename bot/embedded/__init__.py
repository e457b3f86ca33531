"""The SSLmonitor REST API, served here: the same seven endpoints, scanning for real."""
