/** For the guest's bash: `server` leaves the process that serves disk0 in REPLY; nothing there when there is none. */
export const FIND_SERVER = `
    server() {
      for link in /proc/[0-9]*/fd/*; do
        if [[ $link -ef /dev/vduse/blockgate-disk0 ]]; then link=\${link#/proc/}; REPLY=\${link%%/*}; return; fi
      done
      REPLY=
    }`;
