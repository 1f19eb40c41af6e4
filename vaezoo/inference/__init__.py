"""Running a model well: what a pass takes in time and memory."""
