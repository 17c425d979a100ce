"""Parameters, typed: one file of frozen models a stage, on a base that they share. Defaults are in params.yaml.

The exceptions are what params.yaml has no line for and people write themselves: a collection, a transcription,
another kind of encoder. Their optional keys default in the file of the stage that uses them, which dvc.yaml names
among that stage's dependencies. The whole of params.yaml is `flows.parameters`, for no stage sees all of it.
"""
