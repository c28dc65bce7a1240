"""Many pictures, from file to file."""
