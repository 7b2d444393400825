"""Questions and answers: query language, index, selections, series, figures, bundles."""
