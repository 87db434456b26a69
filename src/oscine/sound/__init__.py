"""Recordings: what lies in a folder, what a file holds, and its samples.

In come folders and audio files; out come intervals (`recording`), lists of files (`archive`) and
blocks of float32 samples at the rate that was asked for (`audio`). `oscine.steps` calls it to
index an archive, and to read an event again when it is played or embedded.
"""
