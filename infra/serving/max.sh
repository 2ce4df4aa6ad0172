#!/bin/sh
# Serve Llama 3.x with MAX.
#
#   infra/serving/max.sh                    meta-llama/Llama-3.1-8B-Instruct, port 8000
#
# MODEL, PORT, CONTEXT (tokens) replace the defaults; all arguments are passed on to `max serve`, such as
# `--devices cpu --quantization-encoding float32` for a machine without a GPU (a small model in float32). Llama's licence
# has to be accepted at its hub, and HF_TOKEN set, before the weights can be had; MODEL may be a folder instead.
set -eu

fail() {
  printf '%s\n' "$1" >&2
  exit 2
}

command -v max >/dev/null 2>&1 || fail "no max on the PATH: install it in an environment of its own (uv pip install modular)"

# MAX listens on all interfaces by default and knows no key.
export MAX_SERVE_HOST="${HOST:-127.0.0.1}"
export MAX_SERVE_PORT="${PORT:-8000}"

model=${MODEL:-meta-llama/Llama-3.1-8B-Instruct}
case $model in
  /* | ./* | ../*) [ -d "$model" ] || fail "MODEL=$model: no such folder" ;;
esac

# Without it whatever asks for a response_format is refused; on a CPU MAX does not start with it.
case " $* " in
  *" --devices cpu "*) ;;
  *) set -- --enable-structured-output "$@" ;;
esac

exec max serve --model "$model" --max-length "${CONTEXT:-16384}" "$@"
