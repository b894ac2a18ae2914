#!/usr/bin/env bash
# A whole pre-training in under half an hour on 2 cores, on real text: corpus, tokenizer, three phases with a growing batch
# and a spike policy; it begins on two data ranks with ZeRO 1, is stopped in the middle, goes on as two tensor ranks, loses
# a rank to kill -9, ends on one process, and is exported for Hugging Face. Draws its curve.
#
#   recipes/small-pretrain/run.sh                    on Debian's manuals and sources (as ./quickstart)
#   recipes/small-pretrain/run.sh --corpus DIR       on your own text
#   recipes/small-pretrain/run.sh --out DIR          default runs/small-pretrain
#   recipes/small-pretrain/run.sh --scale 0.1        a tenth of the steps
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus="" out=runs/small-pretrain scale=1 puyu=${PUYU:-build/release/puyu}
while [ $# -gt 0 ]; do
  case "$1" in
    --corpus) corpus=${2:?--corpus needs a folder}; shift ;;
    --out) out=${2:?--out needs a folder}; shift ;;
    --scale) scale=${2:?--scale needs a number}; shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "recipe: unknown word $1 (--help)" >&2; exit 2 ;;
  esac
  shift
done
[ -x "$puyu" ] || { echo "recipe: no $puyu; build it first (./quickstart or cmake --build --preset release --target puyu)" >&2; exit 1; }
begin=$(date +%s)
say() { printf '\n== %s (after %d s)\n' "$*" $(($(date +%s) - begin)) >&2; }
steps() { awk -v n="$1" -v s="$scale" 'BEGIN { n = int(n * s); print (n > 0 ? n : 1) }'; }

if [ -z "$corpus" ]; then
  corpus=${PUYU_CACHE:-.cache/corpus}
  scripts/fetch_corpus.sh "$corpus"
fi
mkdir -p "$out"
say "corpus"
[ -d "$out/tokens" ] || {
  "$puyu" data run --input="$corpus" --out "$out/corpus"
  printf 'inputs = ["%s"]\nvocab_size = 4096\n' "$out/corpus" >"$out/tokenizer.toml"
  "$puyu" tokenizer train "$out/tokenizer.toml" --out "$out/tokenizer.puyu"
  "$puyu" data tokenize "$out/corpus" --tokenizer "$out/tokenizer.puyu" --out "$out/tokens"
}

# Ranks: on one machine without mpirun the whole recipe runs by one process.
on() {
  local ranks=$1
  shift
  if [ "$ranks" = 1 ] || ! command -v mpirun >/dev/null; then "$puyu" train "$@"; return; fi
  mpirun --allow-run-as-root --oversubscribe --bind-to none -x OMP_NUM_THREADS=1 -n "$ranks" "$puyu" train "$@"
}
two() { command -v mpirun >/dev/null && echo "$1" || echo 1; }

config=$out/train.toml run=$out/run
short=$(steps 400) long=$(steps 60) last=$(steps 40)
cp recipes/small-pretrain/recipe.toml "$config"
{
  printf '\n[[data]]\nname = "corpus"\npath = "%s/tokens/train.tok"\n' "$out"
  for v in "$out"/tokens/valid-*.tok; do
    name=${v##*/valid-}
    printf '\n[[valid]]\nname = "%s"\npath = "%s"\n' "${name%.tok}" "$v"
  done
} >>"$config"
common=("$config" --out "$run" --tokenizer="$out/tokenizer.puyu"
  --phases.0.steps="$short" --phases.1.steps="$long" --phases.2.steps="$last" --warmup_steps="$(steps 30)"
  --checkpoint_every="$(steps 100)" --snapshot_every="$(steps 25)" --valid_every="$(steps 50)" --batch_ramp.every="$(steps 30)")

say "two data ranks, ZeRO 1, until the stop file asks"
rm -rf "$run"
mkdir -p "$run"
steps 150 >"$run/stop"
on 2 "${common[@]}" --parallel.zero=1 && { echo "recipe: the stop file did not stop the run" >&2; exit 1; }
[ -e "$run/checkpoints/step-$(printf '%06d' "$(steps 150)")/complete" ] || { echo "recipe: not stopped and saved (see above)" >&2; exit 1; }

say "goes on as two tensor ranks; one of them is killed with kill -9"
on 2 "${common[@]}" --resume --parallel.tensor="$(two 2)" --parallel.tensor_mode=msp &
job=$!
until grep -q "\"step\":$(steps 300)," "$run/metrics.jsonl" 2>/dev/null || ! kill -0 $job 2>/dev/null; do sleep 0.2; done
starter=$(pgrep -P $job | head -n1 || true)  # mpirun, whose children are the ranks, or puyu itself
victim=$(pgrep -P "${starter:-0}" | tail -n1 || true)
victim=${victim:-$starter}
[ -n "$victim" ] && kill -9 "$victim"
wait $job && echo "recipe: it had already finished when the kill came" >&2

say "ends on one process"
on 1 "${common[@]}" --resume

say "export and curve"
"$puyu" convert "$run/model" "$out/hugging-face" --to hf --dtype bf16
"$puyu" info "$run" --svg "$out/curve.svg" --json | tee "$out/summary.json"
"$puyu" generate "$out/hugging-face" -p "The file" --max-tokens 32
say "done: $out/curve.svg, $out/hugging-face"
