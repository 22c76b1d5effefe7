#!/usr/bin/env bash
# CUDA tests and rates of this study on a machine with PyTorch, CUDA and no network:
#     tests/bench/gpu.sh RESULTS [WHEELS] [--rehearse]
# RESULTS gets gpu.json, parts.jsonl, tests.log and bench.log. WHEELS is a folder of wheels of what
# the machine lacks (pydantic; trl and datasets for the rival), which go into a folder of their own.
# --rehearse runs the same on a CPU with a tiny model. On a GPU all of it takes under five minutes.
set -u
cd "$(dirname "$0")/../.."
results=$1; wheels=${2:-}; rehearse=${3:-}
[ "$wheels" = --rehearse ] && { wheels=; rehearse=--rehearse; }
mkdir -p "$results"
results=$(cd "$results" && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export TOKENIZERS_PARALLELISM=false PYTORCH_ALLOC_CONF=expandable_segments:True
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/inductor}
if [ -n "$wheels" ]; then
    site=$(mktemp -d)
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
    export PYTHONPATH="$PYTHONPATH:$site"
fi
nvidia-smi 2>/dev/null || echo "no GPU here"
workers=$("$python" -c "import xdist" 2>/dev/null && echo "-n 8")
timeout -k 5 "${TESTS_SECONDS:-75}" "$python" -m pytest $(find tests -name test_on_gpu.py) $workers \
    -v -rA --tb=short > "$results/tests.log" 2>&1
echo "CUDA tests ended with status $?:"
tail -n 3 "$results/tests.log"
"$python" -m tests.bench.gpu --out "$results" $rehearse 2>&1 | tee "$results/bench.log"
