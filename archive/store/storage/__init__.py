"""Files of an archive, in a folder or a bucket: location, lock, time limits."""
