"""From a command line to jobs and back to an exit code. Hydra and omegaconf stay on this floor."""
