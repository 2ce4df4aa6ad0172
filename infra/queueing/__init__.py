"""Fair turns between workspaces at what is scarce: searches, encoders, answers."""
