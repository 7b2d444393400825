"""Changes of stored spectra: corrections, pressure scales, deletion for good."""
