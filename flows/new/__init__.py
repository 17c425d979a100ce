"""`scriptsight new`: from a folder of videos to a workspace whose overrides.yaml fits them.

`places` says which collections the folder holds, by names alone; `looking` opens the videos as ingest does; `choosing`
makes settings of what was seen, and says what will not work; `machine` measures what this machine can do; `writing`
writes overrides.yaml, and never over what a person wrote.
"""
