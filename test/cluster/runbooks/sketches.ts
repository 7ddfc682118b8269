/** Commands of the runbooks that do not run in runbooks.test.ts, and why. */
const KUBELET = 'needs a kubelet, which the API stand-in has none of';
const CONTROLLERS = 'needs the controllers of Kubernetes';
const NODE = 'looks at a node, and belongs to its distribution';
const ELSEWHERE = 'another test runs it: ';

export const SKETCHES: Readonly<Record<string, string>> = {
  'kubectl apply -f k8s/monitoring/pod-monitor.yaml -f k8s/monitoring/prometheus-rule.yaml':
    'needs the CRDs of the Prometheus operator',
  'kubectl -n bailiff-system logs --previous <pod>': KUBELET,
  'kubectl -n bailiff-system delete pod <pod>': 'as for another pod of the page',
  'kubectl -n bailiff-system delete lease bailiff-ipam-sync': 'no ipam-sync runs here, so there is no Lease',
  'kubectl -n bailiff-system logs job/bailiff-bus-setup': KUBELET,
  'kubectl -n bailiff-system port-forward <pod> 9465': KUBELET,
  'kubectl -n bailiff-system port-forward svc/bailiff-nats 4222 &': KUBELET,
  'kubectl -n bailiff-system exec $pod -c collector -- node /app/main.mjs detach --all': KUBELET,
  'kubectl -n bailiff-system exec bailiff-nats-0 -- nats-server --signal reload=1': KUBELET,
  'kubectl -n bailiff-system exec bailiff-valkey-0 -- sh /etc/valkey/passwords.sh': `${ELSEWHERE}the script, test/cluster/valkey.test.ts`,
  "kubectl -n bailiff-system exec bailiff-valkey-0 -- sh -c 'REDISCLI_AUTH=$(head -n 1 /etc/bailiff/redis/password) valkey-cli flushall'":
    KUBELET,
  'kubectl -n bailiff-system rollout status daemonset/bailiff-collector': CONTROLLERS,
  'kubectl -n bailiff-system rollout status daemonset/bailiff-collector --timeout 30m': CONTROLLERS,
  'kubectl -n bailiff-system patch pvc data-bailiff-nats-0 -p \'{"spec":{"resources":{"requests":{"storage":"32Gi"}}}}\'':
    'needs a storage class',
  'kubectl -n bailiff-system delete statefulset bailiff-nats --cascade=orphan': CONTROLLERS,
  'kubectl kustomize': 'named for what it lacks',
  'kubectl debug': 'named for what it leaves',
  'npx bailiff': 'named for what replaces it',
  'kubectl bailiff': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl bailiff status': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl bailiff status --wait 5m': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl bailiff events forger': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl bailiff why forger': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl wait --for=condition=Ready pod/forger --timeout 2m': KUBELET,
  'kubectl bailiff backup bus.tar --nats-user admin': `${ELSEWHERE}test/cluster/cli-kubectl.test.ts`,
  'kubectl -n bailiff-system create rolebinding alice-bailiff --role bailiff-operator --user alice':
    'kubectl sends protobuf, which the API stand-in does not read',
  'bailiff policy simulate': `${ELSEWHERE}test/cluster/cli-policy-simulate.test.ts`,
  'bailiff config sign <key>': `${ELSEWHERE}test/cluster/signed-config.test.ts`,
  'bailiff status --node': 'named for its option',
  'bailiff status --wait 5m': 'waits until all is well, and no service runs here',
  'bailiff logs correlator --since 10m': KUBELET,
  'bailiff logs collector --previous': KUBELET,
  'bailiff logs <app> --previous': KUBELET,
  'bailiff logs nats --since 10m': KUBELET,
  'bailiff logs valkey --since 10m': KUBELET,
  'npx tsx tools/package/main.ts --out dist-cli': 'builds a package',
  '[ $? -eq 10 ]': 'of the shell',
  'kubectl -n bailiff-system debug node/$NODE -i --profile=sysadmin --image=$IMAGE -- node /app/main.mjs detach --all --bpf-dir /host/sys/fs/bpf/bailiff --state-dir /host/var/lib/bailiff': `${ELSEWHERE}test/kernel/break-glass.test.ts`,
  'ctr -n k8s.io run --rm --privileged --net-host --mount type=bind,src=/,dst=/host,options=rbind:rw $IMAGE bailiff-detach node /app/main.mjs detach --all --bpf-dir /host/sys/fs/bpf/bailiff --state-dir /host/var/lib/bailiff':
    'needs containerd with the image',
  'collector status': `${ELSEWHERE}test/kernel/offline.test.ts`,
  'collector attach': `${ELSEWHERE}test/kernel/offline-detach.test.ts`,
  'collector detach': `${ELSEWHERE}test/kernel/offline-detach.test.ts`,
  'collector detach --all': `${ELSEWHERE}test/kernel/offline-detach.test.ts`,
  'curl http://127.0.0.1:9465/readyz': 'the other end of the port-forward',
  'ss -tn sport = :9464': NODE,
  'find /proc/[0-9]*/fd -lname anon_inode:inotify 2>/dev/null | cut -d/ -f3 | sort | uniq -c | sort -n': NODE,
  'nsenter -t PID -n ip -d link': NODE,
  'nsenter -t PID -n bpftool net': NODE,
  'bpftool net show': NODE,
  'chronyc tracking': NODE,
  'rmmod ifb': NODE,
  "echo 'install ifb /bin/false' > /etc/modprobe.d/bailiff-ifb.conf": NODE,
  'ip link del <interface>': NODE,
  'docker exec <node> mount -t bpf bpf /sys/fs/bpf': NODE,
  'rm -rf /var/lib/bailiff; rmdir /sys/fs/bpf/bailiff/detached /sys/fs/bpf/bailiff': NODE,
  'oc adm policy add-scc-to-user privileged -z bailiff-collector -n bailiff-system': 'of OpenShift',
  'oc adm policy add-scc-to-group nonroot-v2 system:serviceaccounts:bailiff-system': 'of OpenShift',
  'nats --inbox-prefix _INBOX_admin stream edit VERDICTS --max-bytes=2GB --max-msgs=1000000':
    'natscli is not installed',
  'nats-server -c ~/bailiff-bus/nats.conf': `${ELSEWHERE}test/k8s/bus.test.ts`,
  'scripts/images --registry registry.example/bailiff --push': 'needs a registry; test/cluster/images.test.ts builds',
  'scripts/images --registry registry.example/bailiff --push >images.txt': 'as above',
  'scripts/images --save': 'as above',
  'tar -xzf bailiff-<version>-manifests.tar.gz': `${ELSEWHERE}tools/release/release.test.ts`,
  'helm install bailiff bailiff-<version>.tgz -n bailiff-system --values bailiff-<version>-images.yaml': `${ELSEWHERE}what it renders, tools/release/release.test.ts`,
  'helm install bailiff k8s/chart -n bailiff-system --set global.imageRegistry=registry.example': `${ELSEWHERE}what it renders, test/cluster/chart.test.ts`,
  'helm install bailiff k8s/chart -n bailiff-system -f k8s/chart/profiles/single-node.yaml -f k8s/chart/profiles/network-only.yaml --set collector.cgroupRoot=/host/cgroup/kubelet.slice': `${ELSEWHERE}what it renders, test/cluster/chart.test.ts`,
  'helm upgrade … --set nats.replicas=3 --set nats.emptyBus=true': `${ELSEWHERE}what it renders, test/cluster/chart.test.ts`,
  'helm test': KUBELET,
  'helm test bailiff -n bailiff-system': KUBELET,
  'helm uninstall bailiff -n bailiff-system': CONTROLLERS,
  'mkdir -m 700 ~/bailiff-bus': 'of the next line',
  'while read -r name image digest; do': 'of the block',
  'for pod in $(kubectl -n bailiff-system get pods -l app.kubernetes.io/component=collector -o name); do':
    'of the block',
  'export BAILIFF_NATS_URL=tls://127.0.0.1:4222 BAILIFF_NATS_USER=admin': 'this bus has other addresses',
  'export BAILIFF_NATS_CA_FILE=~/bailiff-bus/ca.crt BAILIFF_NATS_PASSWORD_FILE=~/bailiff-bus/users/admin.password':
    'this bus has other files',
};

/** Names of commands without their arguments: they must exist. */
export const NAMES_ONLY: readonly string[] = [
  'bailiff policy diff',
  'bailiff policy rollback',
  'bailiff credentials',
  'bailiff credentials init',
  'bailiff credentials render',
  'bailiff credentials show',
  'bailiff credentials rotate',
  'bailiff config rollback',
  'bailiff disarm',
];
