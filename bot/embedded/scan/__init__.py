"""Scanning one host: connect, read the certificate, judge it. No database."""
