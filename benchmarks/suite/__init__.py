"""The workloads, how they are timed, and how the times are told."""
