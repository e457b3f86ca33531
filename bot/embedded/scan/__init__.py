"""One scan: connect, read the certificate, judge it. No database."""
