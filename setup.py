"""The packages: barospec's own, and each top-level folder as a subpackage of it with all that is below."""

from setuptools import find_packages, setup

# Names that are too generic for site-packages.
FOLDERS = ("archive", "catalogs", "cli", "sample_data", "schemas")

setup(
    packages=[
        "barospec",
        *(f"barospec.{name}" for name in find_packages("barospec")),
        *(f"barospec.{folder}" for folder in FOLDERS),
        *(f"barospec.{folder}.{name}" for folder in FOLDERS for name in find_packages(folder)),
    ],
    package_dir={"barospec": "barospec", **{f"barospec.{folder}": folder for folder in FOLDERS}},
)
