"""Where and how the networks run: device, precision, random streams, files."""
