"""The contract of output layers, and what several of them share."""
