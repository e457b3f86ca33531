"""What only the certificate authority knows: whether it has revoked a certificate."""
