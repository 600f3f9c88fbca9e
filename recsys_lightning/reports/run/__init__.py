"""The page of a run: what its folder holds, as sections, in Markdown and as one HTML file."""
