#!/usr/bin/env bash
# The client tour through an official etcdctl: what a person at a shell does, with the exact answers.
#
# usage: tests/peers/tour/etcdctl.sh ETCDCTL ENDPOINT
#
# The expected answers were taken from a real etcd 3.7.1, against which the same script passes. Revisions are
# counted from the one the tour found (R), so it does not matter what was in the store before.
set -euo pipefail

ctl=$1
endpoint=$2
work=$(mktemp -d)
watcher=
cleanup() {
	if [ -n "$watcher" ]; then kill "$watcher" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap cleanup EXIT

checks=0
etcdctl() { "$ctl" --endpoints "$endpoint" "$@"; }

die() {
	echo "etcdctl tour: $*" >&2
	exit 1
}

same() { # WHAT EXPECTED ACTUAL
	checks=$((checks + 1))
	[ "$2" = "$3" ] && return
	printf 'etcdctl tour: %s\n--- expected\n%s\n--- got\n%s\n' "$1" "$2" "$3" >&2
	exit 1
}

says() { # EXPECTED COMMAND...
	local expected=$1 out
	shift
	out=$(etcdctl "$@" 2>"$work/err") || die "'$*' failed: $(cat "$work/err")"
	same "$*" "$expected" "$out"
}

refuses() { # EXPECTED-ERROR COMMAND...: exit code 1 and this as the last line on stderr
	local expected=$1 code=0
	shift
	etcdctl "$@" >"$work/out" 2>"$work/err" || code=$?
	same "exit code of '$*'" 1 "$code"
	same "error of '$*'" "Error: $expected" "$(grep '^Error:' "$work/err" | tail -n 1)"
}

# JSON without the header, whose ids differ from cluster to cluster.
json() { etcdctl "$@" --write-out json | sed -E 's/"header":\{[^}]*\},?//'; }
revision() { etcdctl get tour/no-such-key --write-out json | sed -E 's/.*"revision":([0-9]+).*/\1/'; }
b64() { printf %s "$1" | base64 -w 0; }
lines() { # one argument a line, as etcdctl prints keys and values
	printf '%s\n' "$@"
}

etcdctl del --prefix tour/ >/dev/null
R=$(revision)
[[ $R =~ ^[0-9]+$ ]] || die "no revision from $endpoint: '$R'"

# --- put ------------------------------------------------------------------------------------------------
says "OK" put tour/a 1                                         # R+1
says "OK" put tour/b 2                                         # R+2
says "OK" put tour/c 3                                         # R+3
says "$(lines OK tour/a 1)" put tour/a one --prev-kv           # R+4
says "OK" put tour/a --ignore-lease uno                        # R+5
same "a value from standard input" "OK" "$(printf 'line 1\nline 2\n' | etcdctl put tour/stdin)" # R+6
says "OK" put tour/empty ""                                    # R+7
refuses "etcdserver: key is not provided" put "" value
refuses "etcdserver: key not found" put tour/absent --ignore-value
refuses "etcdserver: requested lease not found" put tour/a 1 --lease=7fffffff

# --- get, in every shape ----------------------------------------------------------------------------------
says "$(lines tour/a uno)" get tour/a
says "uno" get tour/a --print-value-only
says "" get tour/absent
says "$(lines tour/a uno tour/b 2 tour/c 3)" get tour/a tour/d
says "$(lines tour/b 2 tour/c 3 tour/empty "")" get tour/b tour/stdin
says "$(lines tour/a uno tour/b 2)" get --prefix tour/ --limit 2
says "$(lines tour/stdin "" tour/empty "" tour/c "" tour/b "" tour/a)" get --prefix tour/ --keys-only --order DESCEND
says "$(lines tour/b 2 tour/c 3 tour/a uno)" get tour/a tour/d --sort-by MODIFY --order ASCEND
says "$(lines tour/a uno tour/b 2 tour/c 3)" get tour/a tour/d --sort-by VERSION --order DESCEND
says "$(lines tour/a uno tour/c 3 tour/b 2)" get tour/a tour/d --sort-by VALUE --order DESCEND
says "$(lines tour/c 3 tour/b 2 tour/a uno)" get tour/a tour/d --sort-by CREATE --order DESCEND
says "$(lines tour/empty "" tour/stdin "line 1" "line 2")" get tour/d --from-key --limit 2
says "$(lines tour/a uno)" get tour/a --consistency s
same "count only" "5" "$(etcdctl get --prefix tour/ --count-only --write-out fields | sed -n 's/^"Count" : //p')"
same "all of a key" \
	"{\"kvs\":[{\"key\":\"$(b64 tour/a)\",\"create_revision\":$((R + 1)),\"mod_revision\":$((R + 5)),\"version\":3,\"value\":\"$(b64 uno)\"}],\"count\":1}" \
	"$(json get tour/a)"
same "more than the limit" \
	"{\"kvs\":[{\"key\":\"$(b64 tour/a)\",\"create_revision\":$((R + 1)),\"mod_revision\":$((R + 5)),\"version\":3,\"value\":\"$(b64 uno)\"}],\"more\":true,\"count\":3}" \
	"$(json get tour/a tour/d --limit 1)"
says "\\x74\\x6f\\x75\\x72\\x2f\\x62
\\x32" get tour/b --hex
same "revision after the puts" "$((R + 7))" "$(revision)"

# --- historical reads -------------------------------------------------------------------------------------
says "$(lines tour/a 1)" get tour/a --rev $((R + 1))
says "$(lines tour/a 1)" get tour/a --rev $((R + 3))
says "$(lines tour/a one)" get tour/a --rev $((R + 4))
says "$(lines tour/a 1 tour/b 2)" get --prefix tour/ --rev $((R + 2))
refuses "etcdserver: mvcc: required revision is a future revision" get tour/a --rev $((R + 100))

# --- del --------------------------------------------------------------------------------------------------
says "1" del tour/stdin                                        # R+8
says "0" del tour/stdin
says "$(lines 2 tour/b 2 tour/c 3)" del tour/b tour/d --prev-kv # R+9
says "$(lines tour/b 2 tour/c 3)" get tour/b tour/d --rev $((R + 8))
says "" get tour/b tour/d
refuses "etcdserver: key is not provided" del ""

# --- txn --------------------------------------------------------------------------------------------------
txn() { printf %s "$1" | etcdctl txn 2>&1; }
same "a txn whose compares hold" "$(lines SUCCESS "" OK "" tour/a uno tour/empty "" tour/txn yes "" 1)" \
	"$(txn $'value("tour/a") = "uno"\nversion("tour/absent") = "0"\nmod("tour/a") > "0"\n\nput tour/txn yes\nget --prefix tour/\ndel tour/empty\n\nput tour/txn no\n\n')" # R+10
same "a txn whose compares do not hold" "$(lines FAILURE "" OK)" \
	"$(txn $'create("tour/a") = "1"\n\nput tour/txn yes\n\nput tour/txn no\n\n')" # R+11
says "$(lines tour/txn no)" get tour/txn
same "one revision for the whole txn" "$((R + 11))" "$(revision)"
code=0
txn $'\nput tour/twice 1\nput tour/twice 2\n\n\n' >"$work/out" || code=$?
same "exit code of a txn that puts a key twice" 1 "$code"
same "error of a txn that puts a key twice" "Error: etcdserver: duplicate key given in txn request" "$(grep '^Error:' "$work/out")"

# --- lease with expiry -------------------------------------------------------------------------------------
granted=$(etcdctl lease grant 600)
[[ $granted =~ ^lease\ ([0-9a-f]+)\ granted\ with\ TTL\(600s\)$ ]] || die "lease grant said '$granted'"
lease=${BASH_REMATCH[1]}
says "OK" put tour/leased 1 --lease="$lease" # R+12
same "all of a leased key" "$((16#$lease))" "$(json get tour/leased | sed -E 's/.*"lease":([0-9]+).*/\1/')"
kept=$(etcdctl lease timetolive "$lease" --keys)
[[ $kept =~ ^lease\ $lease\ granted\ with\ TTL\(600s\),\ remaining\((59[0-9]|600)s\),\ attached\ keys\(\[tour/leased\]\)$ ]] || die "lease timetolive said '$kept'"
checks=$((checks + 1))
etcdctl lease list | grep -qx "$lease" || die "lease list does not have $lease"
says "lease $lease keepalived with TTL(600)" lease keep-alive --once "$lease"
says "lease $lease revoked" lease revoke "$lease" # R+13
says "" get tour/leased
refuses "failed to revoke lease (etcdserver: requested lease not found)" lease revoke "$lease"
says "lease $lease already expired" lease timetolive "$lease"
same "revision after the revoke" "$((R + 13))" "$(revision)"

granted=$(etcdctl lease grant 2)
[[ $granted =~ ^lease\ ([0-9a-f]+)\ granted\ with\ TTL\(2s\)$ ]] || die "lease grant said '$granted'"
lease=${BASH_REMATCH[1]}
says "OK" put tour/short 1 --lease="$lease" # R+14
deadline=$((SECONDS + 20))
while [ -n "$(etcdctl get tour/short)" ]; do # expiry at R+15
	[ "$SECONDS" -lt "$deadline" ] || die "lease $lease with a TTL of 2 s did not expire in 20 s"
done
same "revision after the expiry" "$((R + 15))" "$(revision)"

# --- watch from the past ------------------------------------------------------------------------------------
# reads COUNT lines of a watch and then ends it
watched() { # COUNT ARGUMENTS...
	local count=$1 line out=""
	shift
	mkfifo "$work/events"
	"$ctl" --endpoints "$endpoint" watch "$@" >"$work/events" 2>"$work/err" &
	watcher=$!
	while [ "$count" -gt 0 ] && IFS= read -r -t 20 line; do
		out+=$line$'\n'
		count=$((count - 1))
	done <"$work/events"
	kill "$watcher" 2>/dev/null || true
	wait "$watcher" 2>/dev/null || true
	watcher=
	rm "$work/events"
	printf %s "$out"
}
same "watch from the past" "$(lines PUT tour/a 1 PUT tour/a one PUT tour/a uno)" "$(watched 9 tour/a --rev $((R + 1)))"
same "watch from the past with previous values" \
	"$(lines PUT tour/b 2 DELETE tour/b 2 tour/b "")" "$(watched 8 tour/b --rev $((R + 1)) --prev-kv)"
same "watch over a prefix keeps the order of revisions" \
	"$(lines DELETE tour/b "" DELETE tour/c "" PUT tour/txn yes DELETE tour/empty "" PUT tour/txn no PUT tour/leased 1 DELETE tour/leased "" PUT tour/short 1 DELETE tour/short "")" \
	"$(watched 27 --prefix tour/ --rev $((R + 9)))"

# --- watch live ----------------------------------------------------------------------------------------------
# An interactive watch: the answer to "progress" proves that the watch before it is in place.
coproc LIVE { exec "$ctl" --endpoints "$endpoint" watch --interactive 2>"$work/err"; }
watcher=$LIVE_PID
exec {to}>&"${LIVE[1]}" {from}<&"${LIVE[0]}"
next() {
	local line
	IFS= read -r -t 20 -u "$from" line || die "the live watch said nothing for 20 s: $(cat "$work/err")"
	printf '%s\n' "$line"
}
printf 'watch tour/live\nprogress\n' >&"$to"
same "progress of a live watch" "progress notify: $((R + 15))" "$(next)"
says "OK" put tour/live 1                  # R+16
says "OK" put tour/other 1                 # R+17
says "1" del tour/live                     # R+18
says "OK" put tour/live 2                  # R+19
for line in PUT tour/live 1 DELETE tour/live "" PUT tour/live 2; do
	same "live event" "$line" "$(next)"
done
printf 'progress\n' >&"$to"
same "progress after the events" "progress notify: $((R + 19))" "$(next)"
kill "$watcher"
wait "$watcher" 2>/dev/null || true
watcher=
exec {to}>&- {from}<&-

# --- compaction and what it refuses --------------------------------------------------------------------------
says "compacted revision $((R + 11))" compaction $((R + 11)) --physical
refuses "etcdserver: mvcc: required revision has been compacted" compaction $((R + 11))
refuses "etcdserver: mvcc: required revision is a future revision" compaction $((R + 100))
refuses "etcdserver: mvcc: required revision has been compacted" get tour/a --rev $((R + 10))
says "$(lines tour/txn no)" get tour/txn --rev $((R + 11))
code=0
etcdctl watch tour/a --rev $((R + 1)) >"$work/out" 2>"$work/err" || code=$?
same "output of a watch from a compacted revision" "" "$(cat "$work/out")"
same "error of a watch from a compacted revision" \
	"watch was canceled (etcdserver: mvcc: required revision has been compacted)" "$(head -n 1 "$work/err")"
same "exit code of a watch from a compacted revision" 5 "$code"
same "watch from the first revision that is left" "$(lines PUT tour/leased 1)" "$(watched 3 tour/leased --rev $((R + 11)))"

# --- an answer of more than a megabyte, during which grpc-go pings to measure the bandwidth ---------------------
head -c 1400000 /dev/zero | tr '\0' v >"$work/large"
same "putting a large value" "OK" "$(etcdctl put tour/large <"$work/large")"
for attempt in 1 2 3; do
	etcdctl get tour/large --print-value-only >"$work/out" 2>"$work/err" || die "large value: $(cat "$work/err")"
	same "bytes of a large value, attempt $attempt" 1400001 "$(wc -c <"$work/out")"
	same "complaints about a large value" "" "$(cat "$work/err")"
done
etcdctl del tour/large >/dev/null

# --- the rest a person looks at --------------------------------------------------------------------------------
health=$(etcdctl endpoint health 2>&1)
[[ $health == *"is healthy: successfully committed proposal: took ="* ]] || die "endpoint health said '$health'"
same "one member" "1" "$(etcdctl member list | wc -l)"
same "endpoint status names its leader" "true" \
	"$(etcdctl endpoint status --write-out json | sed -E 's/.*"member_id":([0-9]+).*"leader":([0-9]+).*/\1 \2/' | awk '{print $1 == $2 ? "true" : $0}')"

echo "etcdctl tour: $checks checks passed ($(etcdctl version | head -n 1))"
