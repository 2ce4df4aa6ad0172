#!/bin/sh
# Serve a model with Ollama.
#
#   infra/serving/ollama.sh                 llama3.1:8b, port 11434
#
# MODEL, PORT, CONTEXT (tokens), SLOTS (answers at once) replace the defaults. A model that is not there yet is pulled.
set -eu

fail() {
  printf '%s\n' "$1" >&2
  exit 2
}

command -v ollama >/dev/null 2>&1 || fail "no ollama on the PATH: see https://ollama.com/download"

model=${MODEL:-llama3.1:8b}
export OLLAMA_HOST="${HOST:-127.0.0.1}:${PORT:-11434}"
# Its default is 4,096 on small machines, and it cuts a longer prompt without a word: more than Millrace ever sends.
export OLLAMA_CONTEXT_LENGTH="${CONTEXT:-8192}"
export OLLAMA_NUM_PARALLEL="${SLOTS:-4}"
# Otherwise the first question after five quiet minutes waits for the model to be loaded again.
export OLLAMA_KEEP_ALIVE="${KEEP_ALIVE:--1}"

if ollama list >/dev/null 2>&1; then
  fail "something answers at $OLLAMA_HOST already: stop it, or give another PORT"
fi

ollama serve &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

tries=0
until ollama list >/dev/null 2>&1; do
  kill -0 "$server" 2>/dev/null || fail "ollama serve has ended"
  tries=$((tries + 1))
  [ "$tries" -le 60 ] || fail "ollama does not answer at $OLLAMA_HOST after 60 s"
  sleep 1
done

# What is there already is served as it is: a restart needs no network, and a model made here is in no registry.
ollama show "$model" >/dev/null 2>&1 || ollama pull "$model"
wait "$server"
