"""Records made readable: numbers, tables, figures, the console and the report. Knows nothing of torch."""
