"""The search page: a small server on this machine that shows what an index finds, moment by moment.

`shelf` opens models and indexes, `app` puts the parts of the server together; each part has its own addresses.
"""
