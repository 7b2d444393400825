"""The versioned repository: schema of columns, reading, writing, checksums, garbage."""
