"""Generates the vector of a next item from noise, told by a condition whose it is to be."""
