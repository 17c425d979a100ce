#!/bin/sh
# Announce the deployments of a prefect.yaml, make the first workspace, and work on what is started.
# Usage: worker.sh PREFECT_YAML WORKSPACE, in the project's folder.
set -eu
mkdir -p "$2"
test -e "$2/overrides.yaml" || echo "{} # what differs from the project's params.yaml" >"$2/overrides.yaml"
prefect work-pool create scriptsight --type process --overwrite
prefect --no-prompt deploy --all --prefect-file "$1"
scriptsight automations
# No more at once: after days without power, all runs that were missed are due.
exec prefect worker start --pool scriptsight --type process --limit 4
