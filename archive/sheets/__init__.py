"""Run sheets, conditions and gauge readings, as people write them."""
