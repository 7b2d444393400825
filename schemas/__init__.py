"""Meaning of the data: vocabulary, units, records, errors. Imports no other package of barospec."""
