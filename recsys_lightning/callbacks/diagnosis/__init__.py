"""The parts of a diagnosis, each made of a tested model and its data."""
