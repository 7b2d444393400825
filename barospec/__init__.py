"""barospec: an archive of high-pressure x-ray spectra and the models that explain them.

>>> import barospec
>>> barospec.__version__
'0.1.0'
"""
__version__ = "0.1.0"
