#!/bin/sh
# Installs the benchmark's peers on Debian 12; no daemon is started.
set -eu
cd "$(dirname "$0")/.."
exec sh .ci/install gcc libc6-dev iproute2 unbound postfix opendkim opendmarc postfix-policyd-spf-python
