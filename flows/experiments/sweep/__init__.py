"""What `scriptsight sweep` consists of.

`study` talks to Optuna, `trial` is what an experiment of it does, `record` writes it to MLflow, `report` says what
came out, and `apply` writes the winner into params.yaml. `command` puts these together.
"""
