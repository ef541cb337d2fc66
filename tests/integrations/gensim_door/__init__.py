"""gensim's own tests, which it installs with itself, run on the classes of vastmax."""
