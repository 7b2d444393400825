"""From files to one commit."""
