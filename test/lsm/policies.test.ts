// Ordinary use under the ready-made policies: everyday work of services, shells and package
// managers stays possible under each policy, uncounted. A real runc starts, enters, restarts and
// joins containers under all of them at once. Attacks that they refuse: scenarios.test.ts.

import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createPlainServer, type Server as PlainServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { AS_CONTAINERS_ARE, type Ended, READY, readySet, Stage } from './scenarios-rig.ts';

const TOKEN_DIR = '/run/secrets/kubernetes.io/serviceaccount';
/** Addresses in a cluster, and of a cloud's metadata service. */
const [CLUSTER, METADATA] = ['10.77.0.1', '169.254.169.254'];
const SOCKET = '/run/service.sock';
const ANSWER = '10.1.2.3';

const rig = useRig();
let stage: Stage;
let web: Server;
let webPort = 0;
const others: (PlainServer | Socket)[] = [];
const dir = mkdtempSync(path.join(tmpdir(), 'bailiff-ordinary-'));
const debian = path.join(dir, 'tool.deb');

/** Replies to every query with one address. */
async function nameServer(address: string): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (question, { port, address: asker }) => {
    const end = question.indexOf(0, 12) + 5;
    const flags = Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...ANSWER.split('.').map(Number)]);
    socket.send(Buffer.concat([question.subarray(0, 2), flags, question.subarray(12, end), record]), port, asker);
  });
  socket.bind(53, address);
  await once(socket, 'listening');
  others.push(socket);
}

/** A package with a program and a script that runs after unpacking. */
function makePackage(): void {
  const tree = path.join(dir, 'tree');
  mkdirSync(path.join(tree, 'DEBIAN'), { recursive: true });
  mkdirSync(path.join(tree, 'opt/tool'), { recursive: true });
  writeFileSync(
    path.join(tree, 'DEBIAN/control'),
    'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a tool\n',
  );
  writeFileSync(path.join(tree, 'DEBIAN/postinst'), '#!/bin/sh\ntouch /opt/tool/configured\n', { mode: 0o755 });
  writeFileSync(path.join(tree, 'opt/tool/tool'), '#!/bin/sh\necho tool\n', { mode: 0o755 });
  execFileSync('dpkg-deb', ['--build', '-Znone', tree, debian]);
}

beforeAll(async () => {
  stage = new Stage(rig);
  makePackage();
  for (const address of [CLUSTER, METADATA]) execFileSync('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo']);
  writeFileSync('/proc/sys/net/ipv4/ping_group_range', '0 2147483647');
  web = createServer((_request, response) => response.end('answer\n'));
  const unix = createServer((_request, response) => response.end('answer\n'));
  for (const [server, where] of [
    [web, { port: 0 }],
    [unix, { path: SOCKET }],
  ] as const) {
    server.listen(where);
    await once(server, 'listening');
  }
  others.push(unix);
  webPort = (web.address() as AddressInfo).port;
  for (const port of [3333, 4444]) {
    const server = createPlainServer((socket) => socket.end());
    server.listen(port, CLUSTER);
    await once(server, 'listening');
    others.push(server);
  }
  for (const address of ['127.0.0.1', METADATA]) await nameServer(address);
}, LOAD_TIMEOUT_MS);

afterAll(() => {
  web?.close();
  for (const server of others) server.close();
  for (const address of [CLUSTER, METADATA]) execFileSync('ip', ['addr', 'del', `${address}/32`, 'dev', 'lo']);
  rmSync(dir, { recursive: true });
  stage?.[Symbol.dispose]();
});

type Use = (stage: Stage) => Promise<Ended>;

const script =
  (text: string): Use =>
  (stage) =>
    stage.run([...AS_CONTAINERS_ARE, '/usr/bin/dash', '-c', `set -e\n${text}`]);

/** Everyday work of scripts. */
const FILES = script(`
  cd /tmp; mkdir -p a/b; echo text > a/b/f; cp a/b/f a/g; mv a/g a/h; ln -s h a/l; ln a/h a/hard; chmod 600 a/h
  chown 33:33 a/h; sed -i s/text/other/ a/h; grep -q other a/l; tar cf a.tar a; mkdir c; tar xf a.tar -C c
  find c -name f | sort | xargs cat > /dev/null; mkfifo p; (echo x > p & cat p; wait) > /dev/null; rm -r a c a.tar p
  printf 'echo inner\\n' > s; sh s > /dev/null; cat <<E > /dev/null
here
E
  sleep 60 & kill $!; cat /proc/self/status /proc/sys/kernel/core_pattern /proc/meminfo > /dev/null; ps > /dev/null`);
const LOOKUP = script(`getent ahostsv4 shop.example | grep -q '${ANSWER}'`);
const download =
  (address: string): Use =>
  (stage) =>
    script(`curl -sf http://${address}:${webPort}/ | grep -q answer`)(stage);
const PACKAGE: Use = async (stage) => {
  copyFileSync(debian, path.join(stage.root, 'tmp/tool.deb'));
  return script(`rm -rf /tmp/db /opt/tool; mkdir -p /tmp/db/info /tmp/db/updates; touch /tmp/db/status
    dpkg --admindir=/tmp/db -i /tmp/tool.deb > /dev/null; test -e /opt/tool/configured; /opt/tool/tool | grep -q tool`)(
    stage,
  );
};
const resolveBy = (stage: Stage, address: string): void =>
  writeFileSync(path.join(stage.root, 'etc/resolv.conf'), `nameserver ${address}\n`);
/**
 * A server like nginx: log, worker with another user, file sent to a client, which is a shell of
 * the pod.
 */
const SERVER: Use = async (stage) => {
  const server = stage.start(['/usr/bin/scenario-ops', 'serve', '8080', '/etc/hostname']);
  await server.line('ready');
  const { code } = await stage.run(['/usr/bin/curl', '-sf', 'http://127.0.0.1:8080/']);
  return { code: code || (await server.exit()), lines: server.lines };
};
/** The socket of a service beside the pod, as of CSI drivers and database proxies. */
const unixService: Use = (stage) =>
  stage.run(['/usr/bin/curl', '-sf', '--unix-socket', stage.share(SOCKET), 'http://service/']);
const readToken =
  (use: (stage: Stage) => Promise<Ended>): Use =>
  (stage) => {
    mkdirSync(path.join(stage.root, TOKEN_DIR), { recursive: true });
    stage.mount(TOKEN_DIR, '-t', 'tmpfs', 'token');
    writeFileSync(path.join(stage.root, TOKEN_DIR, 'token'), 'eyJhbGciOi');
    return use(stage);
  };

const USES: Readonly<Record<string, Readonly<Record<string, Use>>>> = {
  'af-alg': {
    checksum: script('sha256sum /etc/hostname > /dev/null'),
    download: download('127.0.0.1'),
  },
  'escape-guard': {
    files: FILES,
    server: SERVER,
    lookup: LOOKUP,
    package: PACKAGE,
    'a service at a unix socket': unixService,
    'another user': script('setpriv --reuid=33 --regid=33 --clear-groups id > /dev/null'),
    'a program that crashes': script("dash -c 'kill -SEGV $$' || true"),
  },
  'immutable-image': {
    files: FILES,
    server: SERVER,
    lookup: LOOKUP,
    'libraries that are opened later': script("perl -MPOSIX -MSocket -e 'print POSIX::floor(1.5)'"),
  },
  'metadata-guard': {
    lookup: LOOKUP,
    'lookup at the address of the metadata service': (stage) => {
      resolveBy(stage, METADATA);
      return LOOKUP(stage);
    },
    download: download(CLUSTER),
    server: SERVER,
  },
  'no-crypto-miners': {
    download: download(CLUSTER),
    'a service of the cluster on a port of miners': script(`bash -c 'exec 3<>/dev/tcp/${CLUSTER}/3333'`),
    package: PACKAGE,
    lookup: LOOKUP,
  },
  'no-fileless-exec': {
    files: FILES,
    package: PACKAGE,
    'a program that was written here': script('cp /usr/bin/true /tmp/tool; /tmp/tool'),
    'shared memory as data': script(
      'echo x > /dev/shm/a; cat /dev/shm/a > /dev/null; mv /dev/shm/a /dev/shm/b; rm /dev/shm/b',
    ),
  },
  'no-raw-sockets': {
    lookup: LOOKUP,
    download: download('127.0.0.1'),
    'interfaces and routes by netlink': script('ip addr > /dev/null; ip route > /dev/null'),
    'ping by a ping socket': script('ping -c 1 127.0.0.1 > /dev/null'),
  },
  'no-shell': {
    server: SERVER,
    'other programs': (stage) => stage.run(['/usr/bin/acts', 'run', '/usr/bin/sha256sum', '/etc/hostname']),
  },
  'service-account-token-guard': {
    'the own program reads its token': readToken((stage) => stage.ops('token', `${TOKEN_DIR}/token`)),
    'a script reads other files': readToken((stage) => stage.sh(`cat /etc/hostname; ls ${TOKEN_DIR}/..`)),
    'scripts, beside a token': readToken(FILES),
    download: download('127.0.0.1'),
  },
};

it('a container starts without the temporary and local files of the machine', () => {
  for (const name of ['tmp', 'var/tmp', 'srv', 'root']) expect(readdirSync(path.join(stage.root, name))).toEqual([]);
});

describe('ordinary use', () => {
  it('every ready-made policy has its rows', () => {
    expect(Object.keys(USES).sort()).toEqual([...READY].sort());
  });

  const rows = Object.entries(USES).flatMap(([policy, uses]) =>
    Object.entries(uses).map(([name, use]) => [policy, name, use] as const),
  );
  it.each(rows)('%s - %s', async (policy, _name, use) => {
    resolveBy(stage, '127.0.0.1');
    stage.pod.put(readySet(policy));
    const { code, lines } = await use(stage);
    expect({ code, lines, counts: stage.pod.counts() }).toEqual({ code: 0, lines, counts: {} });
  });
});

describe('runc', () => {
  it('all ready-made policies at once - containers start, are entered, crash and start again, and are joined by an ephemeral one', async () => {
    stage.pod.put(readySet(...READY));
    const quick = ['/usr/bin/scenario-ops', 'quick'];
    const main = stage.runc(['/usr/bin/acts', 'wait']);
    const running = main.start();
    await running.line('ready');
    expect(await main.exec(...quick)).toEqual({ code: 0, lines: ['landed'] });
    expect(await stage.runc(quick).run()).toEqual({ code: 0, lines: ['landed'] });
    const crashing = stage.runc(['/usr/bin/scenario-ops', 'crash']);
    for (let start = 0; start < 2; start++) {
      expect((await crashing.run()).code).toBe(139);
      await crashing.delete();
    }
    expect(stage.pod.counts()).toEqual({});
    expect((await main.exec('/usr/bin/dash', '-c', 'true')).code).not.toBe(0);
    expect(stage.pod.counts()).toEqual({ shell: 1 });
    running.go();
    expect(await running.exit()).toBe(0);
    await main.delete();
  });
});
