"""Search and sharing: query language, index, selections, intake catalogs."""
