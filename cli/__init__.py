"""Words on a terminal: one thin module per verb."""
