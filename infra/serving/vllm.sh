#!/bin/sh
# Serve Qwen 2.5 Coder or a DeepSeek R1 distill with vLLM, on one NVIDIA GPU.
#
#   VLLM_API_KEY=… infra/serving/vllm.sh coder       Qwen/Qwen2.5-Coder-7B-Instruct                port 8001
#   VLLM_API_KEY=… infra/serving/vllm.sh reasoning   deepseek-ai/DeepSeek-R1-Distill-Qwen-7B       port 8002
#
# MODEL, PORT, HOST, CONTEXT (tokens), GPU_SHARE (of the GPU's memory; 0.45 leaves room for the other one) replace the
# defaults; what follows the first word is passed on to vLLM.
set -eu

fail() {
  printf '%s\n' "$1" >&2
  exit 2
}

[ "$#" -ge 1 ] || fail "usage: $0 coder|reasoning [vLLM's options]"
which=$1
shift

command -v vllm >/dev/null 2>&1 || fail "no vllm on the PATH: install it in an environment of its own (pip install vllm)"
# Taken from the environment by vLLM itself: on the command line every user of the machine could read it.
[ -n "${VLLM_API_KEY:-}" ] || fail "VLLM_API_KEY is not set: without it whoever reaches the port uses the model"
export VLLM_API_KEY

case $which in
  coder)
    model=${MODEL:-Qwen/Qwen2.5-Coder-7B-Instruct}
    port=${PORT:-8001}
    # Adapters are loaded and unloaded while it runs, and addressed as models.
    export VLLM_ALLOW_RUNTIME_LORA_UPDATING=True
    set -- --enable-lora --max-lora-rank 16 "$@"
    # Without them whatever offers tools is refused.
    set -- --enable-auto-tool-choice --tool-call-parser hermes "$@"
    ;;
  reasoning)
    model=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
    port=${PORT:-8002}
    # Keeps the thinking apart from the answer.
    set -- --reasoning-parser deepseek_r1 "$@"
    ;;
  *) fail "unknown: $which; there are coder and reasoning" ;;
esac

exec vllm serve "$model" \
  --served-model-name "$which" \
  --host "${HOST:-127.0.0.1}" \
  --port "$port" \
  --max-model-len "${CONTEXT:-16384}" \
  --gpu-memory-utilization "${GPU_SHARE:-0.45}" \
  "$@"
