#!/usr/bin/env bash
# Every load of graven-bench with both of its clients against a server that is not ours to change: all requests must succeed and
# every answer must be right. Then the same with a password. How fast it is, is not asked.
#
# usage: load.sh GRAVEN-BENCH ETCDCTL ENDPOINT
set -euo pipefail

bench=$1
endpoint=$3

load() { # ARGUMENTS...
	local out
	if ! out=$("$bench" "$@" --endpoints "$endpoint" --total "${total:-1500}" --connections 3 --clients 30 --warm-up 0 2>&1) ||
		! grep -q '^failures: none$' <<<"$out"; then
		printf 'graven-bench %s\n%s\n' "$*" "$out" >&2
		exit 1
	fi
}

all() { # ARGUMENTS...
	load put --keys kubernetes --distribution zipf --value-size 0-2000 "$@"
	load put --value-size 100000 --key-space 10 "$@"
	load range --fill --key-space 300 "$@"
	load range --serializable --key-space 300 "$@"
	load range key- --prefix --limit 50 "$@"
	load range "" --prefix --count-only "$@"
	load txn-put --operations 8 "$@"
	load txn-mixed --operations 4 --reads 30 "$@"
	load mixed --reads 70 "$@"
	load put --rate 3000 "$@"
	load lease --keep-alives 3 --keys-per-lease 2 --ttl 30 "$@"
	load lease --rate 1000 "$@"
	local isolation
	for isolation in serializable-snapshots serializable repeatable-reads; do
		total=500 load stm --verify --isolation "$isolation" --keys-per-txn 2 --txn-keyspace 50 "$@"
	done
	total=500 load stm --isolation read-committed --txn-keyspace 5 "$@"
	snapshots "$@"
	local watching="--streams 5 --watchers 60 --watched-keys 12"
	# shellcheck disable=SC2086
	{
		load watch $watching "$@"
		load watch $watching --prev-kv --rate 2000 --value-size 16-4000 "$@"
		load watch $watching --keys kubernetes --distribution zipf --threads 3 "$@"
		total=300 load watch-latency --rate 1000 --prev-kv "$@"
		load watch-get $watching --fill --key-space 300 --serializable "$@"
		load watch-get $watching --history 400 --key-space 300 "$@"
	}
	load kubernetes --prefix /cluster --nodes 30 --pods-per-node 10 --speed 300 --page 40 --compact-every 500ms "$@"
}

snapshots() { # ARGUMENTS...: only a server that has none may do without, and etcd has them
	local out
	if out=$("$bench" snapshot --endpoints "$endpoint" --total 1 2>&1); then
		total=4 load snapshot --streams 2 "$@"
	else
		grep -q 'Unimplemented.*it streams no snapshots' <<<"$out" || { echo "$out" >&2; exit 1; }
		echo "no snapshots there: left out"
	fi
}

all --client lean
all --client tonic

ctl() { "$etcdctl" --endpoints "$endpoint" "$@" >/dev/null; }
etcdctl=$2
if ! said=$("$etcdctl" --endpoints "$endpoint" user add root:secret 2>&1); then
	# Only a server without authentication may leave the rest out, and etcd is none.
	grep -q 'code = Unimplemented' <<<"$said" || { echo "$said" >&2; exit 1; }
	echo "no authentication there: the part with a password is left out"
	exit 0
fi
ctl user grant-role root root
ctl auth enable
load put --user root:secret
load range --user root:secret --client tonic
load watch --user root:secret
total=300 load kubernetes --user root:secret --prefix /cluster --nodes 10 --pods-per-node 2 --speed 300
if out=$("$bench" put --user root:wrong --endpoints "$endpoint" 2>&1); then
	echo "a wrong password was not refused" >&2
	exit 1
fi
grep -q 'check the name and the password' <<<"$out"
"$etcdctl" --endpoints "$endpoint" --user root:secret auth disable >/dev/null
