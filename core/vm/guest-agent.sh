# Runs in the test VM as a child of PID 1: reads commands from the virtio-serial port, one per line, starts scripts.
#   host → guest   run ID TOKEN · kill ID
#   guest → host   ready · exit ID STATUS
# A script's output goes through a pipe (so that /dev/stderr and the like work) into a file of the session share, where
# the host follows it; TOKEN after the last byte tells the host that a script's own output is complete, whatever
# processes it left behind may still be writing.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
host=/run/vm/host/runs
local=/run/vm/runs
bb=/run/vm/busybox
$bb mkdir -p $local

port=
while [ -z "$port" ]; do
  for candidate in /sys/class/virtio-ports/*; do
    [ -e "$candidate/name" ] && read -r name <"$candidate/name" && [ "$name" = blockgate.control ] && port=/dev/${candidate##*/}
  done
  [ -n "$port" ] || $bb usleep 10000
done
exec 3<>"$port"

run() {
  pipes=$local/$1
  $bb mkdir "$pipes"
  $bb mkfifo "$pipes/stdout" "$pipes/stderr"
  $bb cat "$pipes/stdout" >"$host/$1/stdout" &
  $bb cat "$pipes/stderr" >"$host/$1/stderr" &
  exec 4>"$pipes/stdout" 5>"$pipes/stderr"
  $bb setsid sh "$host/$1/start" 3>&- >&4 2>&5 4>&- 5>&- </dev/null &
  echo $! >"$pipes/pid"
  wait $!
  status=$?
  printf '\0%s\0' "$2" >&4
  printf '\0%s\0' "$2" >&5
  exec 4>&- 5>&-
  echo "exit $1 $status" >&3
}

# The script leads its own session and process group, so one kill reaches what it started and did not detach.
stop() {
  read -r group <"$local/$1/pid" || return
  kill -TERM -- "-$group"
  $bb sleep 2
  kill -KILL -- "-$group"
}

echo ready >&3
while read -r verb id token <&3; do
  case $verb in
    run) run "$id" "$token" & ;;
    kill) stop "$id" 2>/dev/null & ;;
  esac
done
$bb poweroff -f
