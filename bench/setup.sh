#!/bin/sh
# Installs the benchmark's peers on Debian 12; no daemon is started.
set -eu
cd "$(dirname "$0")/.."
sh .ci/install gcc libc6-dev libssl-dev iproute2 python3-venv unbound postfix opendkim opendmarc postfix-policyd-spf-python rspamd
# Haraka and mailauth, where there is a node to run them.
if command -v npm >/dev/null; then
    mkdir -p bench/build/node
    cp bench/node-package.json bench/build/node/package.json
    npm install --prefix bench/build/node --ignore-scripts --no-fund --no-audit --loglevel=error
fi
