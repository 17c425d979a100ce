"""`scriptsight new`: from a folder of videos to a workspace whose overrides.yaml fits them.

`places` (with `layouts`) says which collections the folder holds, by names alone; `looking` opens the videos as
ingest does; `choosing` (with `moments` and `splitting`) makes settings of what was seen, and says what will not work;
`machine` measures what this machine can do, and `planning` makes steps and an estimate of it; `writing` makes the
text of overrides.yaml; `record` remembers the videos; `saying` says all of it.
"""
