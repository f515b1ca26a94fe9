#!/bin/bash
# One monitor, one OSD and one RADOS gateway, all of them this process' children. Runs inside the Ceph root.
# usage: cluster.sh <data folder> <S3 port> <monitor port> <access key> <secret key>
# Prints "ready" when the gateway answers; stays in the foreground; whatever ends it ends everything.
set -u
data=$1 s3_port=$2 mon_port=$3 access_key=$4 secret_key=$5
export CEPH_CONF=$data/ceph.conf
cd /

fail() { echo "cluster.sh: $1" >&2; tail -n 20 "$data/$2" >&2; exit 1; }

if [ ! -e "$data/initialised" ]; then
  mkdir -p "$data"/{mon,osd,rgw,run}
  fsid=$(cat /proc/sys/kernel/random/uuid)
  # No authentication and no replication: a test server for loopback. msgr2 stays off, since a monmap that names a
  # v1 address only is what lets the monitor use a port of our choice.
  cat > "$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon_host = [v1:127.0.0.1:$mon_port]
mon_initial_members = a
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_bind_msgr2 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = $data/run
admin_socket = $data/run/\$name.asok
log_file = $data/\$name.log
mon_cluster_log_file = $data/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_crit = 1
debug_mon = 0
debug_osd = 0
debug_ms = 0
debug_rgw = 0
debug_bluestore = 0
debug_rocksdb = 0
[mon.a]
mon_data = $data/mon
[osd]
osd_data = $data/osd
bluestore_block_size = 12884901888
bluestore_block_create = true
bluestore_block_wal_create = false
bluestore_block_db_create = false
osd_memory_target = 939524096
osd_class_load_list = *
osd_class_default_list = *
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 1
[client]
# Without tcp_nodelay every small GET waits 40 ms for Nagle.
rgw_frontends = beast endpoint=127.0.0.1:$s3_port tcp_nodelay=1
rgw_data = $data/rgw
rgw_crypt_require_ssl = false
rgw_thread_pool_size = 64
rgw_dns_name = 127.0.0.1
rgw_run_sync_thread = false
rgw_gc_obj_min_wait = 60
CONF
  monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$data/monmap" > "$data/mkfs.out" 2>&1 &&
    ceph-mon --mkfs -i a --monmap "$data/monmap" >> "$data/mkfs.out" 2>&1 || fail 'cannot create the monitor' mkfs.out
fi

ceph-mon -i a -f > "$data/mon.out" 2>&1 &
until timeout 5 ceph -s > /dev/null 2>&1; do
  kill -0 $! 2>/dev/null || fail 'the monitor ended' mon.out
  sleep 0.1
done
if [ ! -e "$data/initialised" ]; then
  uuid=$(cat /proc/sys/kernel/random/uuid)
  ceph osd new "$uuid" > "$data/osd.out" 2>&1 &&
    ceph-osd -i 0 --mkfs --osd-uuid "$uuid" >> "$data/osd.out" 2>&1 || fail 'cannot create the OSD' osd.out
fi
# An OSD may ask the monitor for something before it has learnt the cluster's id, is refused ("wrong fsid") and ends:
# start it again. That it is "up" says little after a restart, when the monitor remembers the OSD of before.
for attempt in {1..20}; do
  ceph-osd -i 0 -f
  sleep 0.2
done > "$data/osd.out" 2>&1 &
osd=$!
until ceph osd stat 2>/dev/null | grep -q '1 up'; do
  kill -0 "$osd" 2>/dev/null || fail 'the OSD ended twenty times' osd.out
  sleep 0.1
done
if [ ! -e "$data/initialised" ]; then
  radosgw-admin user create --uid=test --display-name=test --access-key="$access_key" --secret-key="$secret_key" \
    > "$data/user.out" 2>&1 || fail 'cannot create the user' user.out
  touch "$data/initialised"
fi
radosgw -f -n client.admin > "$data/rgw.out" 2>&1 &
rgw=$!
until (exec 3<> "/dev/tcp/127.0.0.1/$s3_port") 2>/dev/null; do
  kill -0 "$rgw" 2>/dev/null || fail 'the gateway ended' rgw.out
  sleep 0.1
done
echo ready
wait "$rgw"
