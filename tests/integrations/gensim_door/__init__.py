"""gensim's own tests, which its package installs, run on vastmax's classes."""
