"""Questions about networks: variants of one, what they cost, how well they learn, and a report."""
