#!/bin/sh
# Write docker/.env (or the file named) from .env.example, with a new secret wherever a value is empty.
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
target=${1:-$folder/.env}
umask 077
set -o noclobber # a second run would lock out everyone from the databases there are
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
while IFS= read -r line; do
  case $line in
    '#'*) printf '%s\n' "$line" ;;
    *=) printf '%s%s\n' "$line" "$(secret)" ;;
    *) printf '%s\n' "$line" ;;
  esac
done <"$folder/.env.example" >"$target"
echo "Wrote $target: keep a copy where you keep passwords." >&2
