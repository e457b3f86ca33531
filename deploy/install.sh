#!/bin/sh
# Install the bot with its locked dependencies into a new virtual environment.
#
#   sh deploy/install.sh /opt/sslmonitor-bot [python3]
#
# The Dockerfile runs this, and so does the test of the deployment.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
target=$1
python=${2:-python3}

"$python" -m venv "$target"
"$target/bin/pip" install --quiet --no-cache-dir --require-hashes -r "$source/requirements.lock"
"$target/bin/pip" install --quiet --no-cache-dir --no-deps "$source"
"$target/bin/python" -m compileall -q "$target/lib"
