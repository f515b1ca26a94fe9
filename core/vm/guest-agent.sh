# Runs in the test VM as a child of PID 1: reads commands from the virtio-serial port, one per line, starts scripts.
#   host → guest   run ID TOKEN · kill ID
#   guest → host   ready · exit ID STATUS
# A script's output goes through a pipe (so that /dev/stderr and the like can be opened) into a file of the session's
# folder, where the host follows it. TOKEN after the last byte says that a script's own output is complete, whatever
# processes it left behind may still write.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
host=/run/vm/host/runs
local=/run/vm/runs
busybox=/run/vm/busybox
$busybox mkdir -p $local

port=
while [ -z "$port" ]; do
  for candidate in /sys/class/virtio-ports/*; do
    [ -e "$candidate/name" ] && read -r name <"$candidate/name" && [ "$name" = blockgate.control ] && port=/dev/${candidate##*/}
  done
  [ -n "$port" ] || $busybox usleep 10000
done
exec 3<>"$port"

run() {
  $busybox mkfifo "$local/$1.stdout" "$local/$1.stderr"
  $busybox cat "$local/$1.stdout" >"$host/$1/stdout" &
  $busybox cat "$local/$1.stderr" >"$host/$1/stderr" &
  exec 4>"$local/$1.stdout" 5>"$local/$1.stderr"
  $busybox setsid sh "$host/$1/start" 3>&- >&4 2>&5 4>&- 5>&- </dev/null &
  echo $! >"$local/$1.pid"
  wait $!
  status=$?
  : >"$local/$1.ended"
  printf '\0%s\0' "$2" >&4
  printf '\0%s\0' "$2" >&5
  exec 4>&- 5>&-
  echo "exit $1 $status" >&3
}

# The script leads its own session and process group, so one kill reaches what it started and did not detach.
stop() {
  while [ ! -s "$local/$1.pid" ]; do $busybox usleep 10000; done
  [ -e "$local/$1.ended" ] && return
  read -r group <"$local/$1.pid"
  kill -TERM -- "-$group"
  $busybox sleep 2
  kill -KILL -- "-$group"
}

echo ready >&3
while read -r verb id token <&3; do
  case $verb in
    run) run "$id" "$token" & ;;
    kill) stop "$id" 2>/dev/null & ;;
  esac
done
$busybox poweroff -f
