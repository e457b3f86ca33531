"""What users read: values in, a card out."""
