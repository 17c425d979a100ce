"""What `scriptsight sweep` consists of.

`study` talks to Optuna, `attempt` runs a trial in a process of its own (`trial`) and watches it, `record` writes it
to MLflow, `report` says what came out, and `apply` writes the winner into params.yaml.
"""
