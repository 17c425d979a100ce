#!/bin/sh
# Announce the deployments of prefect.yaml, then work on what they start. Run in the project's folder.
set -eu
prefect work-pool create scriptsight --type process --overwrite
prefect --no-prompt deploy --all
exec prefect worker start --pool scriptsight --type process
