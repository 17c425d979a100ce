#!/bin/sh
# One role and one database for each server. PostgreSQL's image runs this once, when its volume is new.
set -eu
make() { # NAME PASSWORD DATABASE...
  name=$1
  PASSWORD=$2 psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$name" --username=postgres --dbname=postgres <<'SQL'
\getenv password PASSWORD
CREATE ROLE :"name" LOGIN PASSWORD :'password';
SQL
  shift 2
  for database in "$@"; do
    createdb --username=postgres --maintenance-db=postgres --owner="$name" "$database"
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres \
      --command="REVOKE ALL ON DATABASE $database FROM PUBLIC"
  done
}
make prefect "$PREFECT_DB_PASSWORD" prefect
make mlflow "$MLFLOW_DB_PASSWORD" mlflow mlflow_auth
make optuna "$OPTUNA_DB_PASSWORD" optuna
