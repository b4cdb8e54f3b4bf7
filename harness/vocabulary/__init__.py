"""The words of the harness: cells, records, seeds and errors. Imports nothing from the floors below."""
