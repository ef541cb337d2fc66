"""Models: the words around in, a hidden vector out, any output layer on top."""
