#!/usr/bin/env bash
# The pipeline as job arrays on a real Slurm of one node, started here and stopped again: run.sh PUYU. Its output must be
# the bytes of the local pool's for any number of workers, tasks and shards; a run whose task, or whose own command, was
# killed must go on to the same bytes. Exit code 77: skipped.
set -euo pipefail
puyu=$(realpath "$1")
PATH=$PATH:/usr/sbin
skip() { echo "skipped: $*"; exit 77; }
for program in munged slurmctld slurmd sbatch squeue python3; do
  command -v $program >/dev/null || skip "no $program here (Debian: slurm-wlm, munge)"
done
[ "$(id -u)" = 0 ] || skip "slurmd wants root"
dir=$(mktemp -d)
chmod 755 "$dir"
export SLURM_CONF=$dir/slurm.conf

# Ends what was started here and nothing else, by the files that hold their process ids.
stop() {
  local name pid
  trap '' INT TERM
  scancel --me 2>/dev/null || true
  for name in slurmd slurmctld munged; do
    pid=$(cat "$dir/$name.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null && timeout 20 tail --pid="$pid" -f /dev/null || true
  done
  rm -rf "$dir"
}
trap stop EXIT
die() {
  echo "$*"
  tail -n 20 "$dir"/slurm*.log "$dir"/*.err "$dir"/*/work/slurm/*.log 2>/dev/null || true
  exit 1
}

mkdir "$dir/state" "$dir/spool"
(umask 077; head -c 1024 /dev/urandom >"$dir/munge.key")
munged --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munged.pid" \
       --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" 2>"$dir/munged.err" ||
  skip "munged does not start here: $(cat "$dir/munged.err")"
host=$(hostname -s)
port=$((20000 + $$ % 20000))
cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1
KillWait=1
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=p Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
slurmctld -f "$SLURM_CONF" || skip "slurmctld does not start here"
slurmd -f "$SLURM_CONF" || skip "slurmd does not start here"
up=
for _ in $(seq 120); do
  [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ] && { up=1; break; }
  sleep 0.5
done
[ "$up" ] || { tail -n 5 "$dir"/slurm*.log; skip "the Slurm node does not come up here"; }

cd "$dir"
mkdir in
python3 - in <<'END'
import json, random, sys
random.seed(7)
words = ["".join(random.choice("bdfgklmnprst") + random.choice("aeiou") for _ in range(random.randint(1, 4))) for _ in range(3000)]
for f in range(16):
    with open(f"{sys.argv[1]}/part-{f:02}.jsonl", "w") as out:
        for d in range(1000):
            random.seed(1000000 * (f % 8) + d)  # every text comes twice, once with another ending
            text = "The story of it is that " + " ".join(random.choices(words, k=150)) + ("." if f < 8 else " and so on.")
            out.write(json.dumps({"text": text, "language": "en", "date": f"20{10 + f}-01-01"}) + "\n")
END
run() { "$puyu" data run --input=in --en.min_stop_words=0 "$@"; }
far() { run --out "$1" --executor=slurm --slurm.tasks="$2" "${@:3}"; }
same() {
  local f
  [ "$(ls "$1" | grep -v run.json)" = "$(ls "$2" | grep -v run.json)" ] || die "$1 and $2: not the same files"
  for f in $(ls "$1" | grep -v run.json); do cmp "$1/$f" "$2/$f" || die "$1 and $2 differ"; done
}
text() { cat "$1"/docs-*.zst | zstd -dcq; }

# Any number of workers or tasks, one shard and sixteen.
shards=--shard_bytes=500000
run --out local --workers=1 >local.txt 2>local.err || die "the local run failed"
run --out many --workers=2 $shards >many.txt 2>many.err || die "the local run failed"
[ "$(ls local | grep -c docs-)" = 1 ] || die "expected one shard"
[ "$(ls many | grep -c docs-)" -ge 16 ] || die "expected sixteen shards"
cmp <(text local) <(text many) || die "sharding changes the documents"
grep -q similar_text local.txt || die "no near duplicates: the test shows little"
for n in 2 7; do
  run --out local$n --workers=$n >/dev/null 2>local.err || die "the local run failed"
  same local local$n
done
for n in 1 2 7; do
  far far$n $n >far.txt 2>far.err || die "the run on Slurm failed"
  cmp local.txt far.txt || die "another funnel"
  same local far$n
done
far farmany 7 $shards >far.txt 2>far.err || die "the run on Slurm failed"
same many farmany
echo "slurm: the bytes of the local pool for 1, 2 and 7 workers and tasks, 1 and $(ls many | grep -c docs-) shards"

# A task that is cancelled in the middle: an error that names the stage; the same command goes on, to the same bytes,
# and does not do again what was done.
wait_for_marker() {
  for _ in $(seq 1200); do
    ls "$1"/work/*.json 2>/dev/null | grep -qv plan.json && return 0
    sleep 0.02
  done
  die "no task of $1 ends"
}
far cut 2 >cut.txt 2>cut.err &
command=$!
wait_for_marker cut
job=$(squeue --me --noheader --format='%F %j' | sed -n 's/ puyu-.*-read$//p' | sort -u)
[ "$job" ] || die "reading ended too soon to be cancelled"
scancel "${job}_0"
if wait $command; then die "the run went on without its cancelled task"; fi
grep -q 'the jobs ended before stage read was done; see .*/cut/work/slurm/read-\*.log' cut.err || die "no clear error"
done_before=$(ls cut/work/*.json | grep -vc plan.json)
far cut 2 >cut.txt 2>cut.err || die "the run does not go on"
same local cut
echo "slurm: the same bytes after a task was cancelled ($done_before units had been read by then)"

# The command itself killed: the jobs go on and the same command finds them.
far left 2 >left.txt 2>left.err &
command=$!
wait_for_marker left
kill -9 $command
wait $command || true
far left 2 >left.txt 2>left.err || die "the jobs are not found again"
grep -q 'in the queue already' left.err || die "the jobs were submitted twice"
same local left
# All jobs killed, and the folder asked for with another configuration.
far all 2 --slurm.wait=false >all.txt 2>all.err || die "submitting alone failed"
[ ! -s all.txt ] || die "expected no funnel without waiting"
if far all 2 $shards >other.txt 2>other.err; then die "two configurations at work in one folder"; fi
grep -q 'for another configuration or other input' other.err || die "no clear error"
wait_for_marker all
scancel --signal=KILL --me
scancel --me
far all 2 >all.txt 2>all.err || die "the run does not go on"
same local all
if far bad 2 --slurm.partition=nowhere >bad.txt 2>bad.err; then die "a partition that is not there"; fi
grep -q 'sbatch .* failed: .*nvalid partition' bad.err || die "no clear error"
echo "slurm: the same bytes after the command and after all jobs were killed"
