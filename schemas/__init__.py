"""What data mean: vocabulary, units, records, errors. Imports nothing of ours."""
