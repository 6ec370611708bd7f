"""From due deliveries to Microsoft and back: claim, mark, retry, and what stops an account or everybody."""
