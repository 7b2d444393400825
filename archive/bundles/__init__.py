"""Sealed folders of spectra: written, read, unpacked within limits, cleaned of what is private."""
