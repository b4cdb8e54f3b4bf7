"""Records on disk: the cache of cells, ``records.csv`` and the manifest. Knows nothing of how they were measured."""
